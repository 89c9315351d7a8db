import FoundationEssentials
import NIOCore

/// The two kinds of messages, to and from their bytes.
enum VarlinkMessage {
  /// A call as far as it must be known before its method is: all but the shape of its parameters.
  struct CallHead: Decodable {
    let method: String
    let more: Bool
    let oneway: Bool
    let upgrade: Bool

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CallKey.self)
      method = try container.decode(String.self, forKey: .method)
      more = try container.decodeIfPresent(Bool.self, forKey: .more) ?? false
      oneway = try container.decodeIfPresent(Bool.self, forKey: .oneway) ?? false
      upgrade = try container.decodeIfPresent(Bool.self, forKey: .upgrade) ?? false
      if container.hasValue(.parameters) {
        // Parameters that are no object make the message malformed, whatever the method.
        _ = try container.nestedContainer(keyedBy: AnyKey.self, forKey: .parameters)
      }
    }
  }

  /// - Throws: `.malformed` if these bytes are no call.
  static func callHead(of message: Data) throws(VarlinkError) -> CallHead {
    do {
      return try JSONDecoder().decode(CallHead.self, from: message)
    } catch {
      throw .malformed("a message is no Varlink call: \(reason(error))", cause: error)
    }
  }

  /// The parameters of a call whose head was read already; missing ones are `{}`.
  /// - Throws: the answer `org.varlink.service.InvalidParameter` with the path of the first that does not fit.
  static func parameters<Parameters: Decodable>(
    of message: Data, as type: Parameters.Type
  ) throws(VarlinkErrorReply) -> Parameters {
    do {
      return try JSONDecoder().decode(CallBody<Parameters>.self, from: message).parameters
    } catch let error as DecodingError {
      throw .invalidParameter(parameterPath(error))
    } catch let error as VarlinkErrorReply {
      throw error
    } catch {
      throw .invalidParameter("parameters")
    }
  }

  /// - Throws: `.malformed` if the parameters cannot be written as JSON.
  static func call(
    _ method: String, _ parameters: some Encodable, more: Bool = false, oneway: Bool = false
  ) throws(VarlinkError) -> ByteBuffer {
    try encode(OutgoingCall(method: method, parameters: parameters, more: more, oneway: oneway))
  }

  /// - Throws: `.malformed` if the parameters cannot be written as JSON.
  static func reply(_ parameters: some Encodable, continues: Bool) throws(VarlinkError) -> ByteBuffer {
    try encode(OutgoingReply(parameters: parameters, continues: continues))
  }

  static func errorReply(_ error: VarlinkErrorReply) -> ByteBuffer {
    let message = try? encode(OutgoingError(error: error.name, parameters: error.parameters))
    return message ?? ByteBuffer(string: #"{"error":"org.varlink.service.MethodNotImplemented"}"# + "\0")
  }

  /// - Throws: `.remote` if the reply is an error, `.malformed` if these bytes are no reply or do not fit the type.
  static func readReply<Parameters: Decodable>(
    _ message: Data, as type: Parameters.Type
  ) throws(VarlinkError) -> (parameters: Parameters, continues: Bool) {
    let reply: IncomingReply<Parameters>
    do {
      reply = try JSONDecoder().decode(IncomingReply<Parameters>.self, from: message)
    } catch {
      throw .malformed("a message is no reply of the type \(type): \(reason(error))", cause: error)
    }
    switch reply {
    case .error(let error): throw VarlinkError(.remote(error), "the service answered \(error)")
    case .parameters(let parameters, let continues): return (parameters, continues)
    }
  }

  private static func encode(_ message: some Encodable) throws(VarlinkError) -> ByteBuffer {
    let encoder = JSONEncoder()
    // Sorted, lest the order change from one start of the process to the next: people compare logs and traces.
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let json: Data
    do {
      json = try encoder.encode(message)
    } catch {
      throw .malformed("a message cannot be written as JSON: \(reason(error))", cause: error)
    }
    var buffer = ByteBuffer()
    buffer.reserveCapacity(json.count + 1)
    buffer.writeBytes(json)
    buffer.writeInteger(UInt8(0))
    return buffer
  }
}

// MARK: - Shapes on the wire

private enum CallKey: CodingKey { case method, parameters, more, oneway, upgrade }

private enum ReplyKey: CodingKey { case parameters, continues, error }

private struct AnyKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }
  init?(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

extension KeyedDecodingContainer {
  /// Whether `key` is there and is not null.
  fileprivate func hasValue(_ key: Key) -> Bool {
    contains(key) && (try? decodeNil(forKey: key)) == false
  }

  /// The object under `key`; a missing one counts as `{}`.
  fileprivate func decodeObject<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
    if hasValue(key) { return try decode(type, forKey: key) }
    return try JSONDecoder().decode(type, from: Data("{}".utf8))
  }
}

private struct CallBody<Parameters: Decodable>: Decodable {
  let parameters: Parameters

  init(from decoder: any Decoder) throws {
    parameters = try decoder.container(keyedBy: CallKey.self).decodeObject(Parameters.self, forKey: .parameters)
  }
}

private struct OutgoingCall<Parameters: Encodable>: Encodable {
  let method: String
  let parameters: Parameters
  let more: Bool
  let oneway: Bool

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CallKey.self)
    try container.encode(method, forKey: .method)
    try container.encode(parameters, forKey: .parameters)
    if more { try container.encode(true, forKey: .more) }
    if oneway { try container.encode(true, forKey: .oneway) }
  }
}

private struct OutgoingReply<Parameters: Encodable>: Encodable {
  let parameters: Parameters
  let continues: Bool

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: ReplyKey.self)
    try container.encode(parameters, forKey: .parameters)
    if continues { try container.encode(true, forKey: .continues) }
  }
}

private struct OutgoingError: Encodable {
  let error: String
  let parameters: JSONValue
}

private enum IncomingReply<Parameters: Decodable>: Decodable {
  case parameters(Parameters, continues: Bool)
  case error(VarlinkErrorReply)

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: ReplyKey.self)
    if let name = try container.decodeIfPresent(String.self, forKey: .error) {
      let parameters = try container.decodeObject([String: JSONValue].self, forKey: .parameters)
      self = .error(VarlinkErrorReply(name, parameters))
    } else {
      self = .parameters(
        try container.decodeObject(Parameters.self, forKey: .parameters),
        continues: try container.decodeIfPresent(Bool.self, forKey: .continues) ?? false)
    }
  }
}

// MARK: - Words for what does not decode

/// Where in the parameters, as `instances[2].url`.
private func parameterPath(_ error: DecodingError) -> String {
  var path = codingPath(error)
  if path.first?.stringValue == "parameters" { path.removeFirst() }
  return path.isEmpty ? "parameters" : text(path)
}

private func reason(_ error: any Error) -> String {
  switch error {
  case DecodingError.keyNotFound(let key, let context): "\(text(context.codingPath + [key])) is missing"
  case DecodingError.valueNotFound(_, let context): "\(text(context.codingPath)) is null"
  case DecodingError.typeMismatch(let type, let context): "\(text(context.codingPath)) is no \(type)"
  case DecodingError.dataCorrupted(let context): "\(text(context.codingPath)): \(context.debugDescription)"
  default: "\(error)"
  }
}

private func codingPath(_ error: DecodingError) -> [any CodingKey] {
  switch error {
  case .keyNotFound(let key, let context): context.codingPath + [key]
  case .valueNotFound(_, let context), .typeMismatch(_, let context), .dataCorrupted(let context): context.codingPath
  @unknown default: []
  }
}

private func text(_ path: [any CodingKey]) -> String {
  let parts = path.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }
  return path.isEmpty ? "it" : String(parts.joined().drop { $0 == "." })
}
