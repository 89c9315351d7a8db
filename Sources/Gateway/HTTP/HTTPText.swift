import NIOCore
import NIOHTTP1
import OllamaAPI

/// Writes the heads of messages: to the instances, and to the clients.
enum HTTPText {
  /// The head of a request to an instance: the client's, made fit for another connection.
  ///
  /// - Parameters:
  ///   - host: the instance's address, since Ollama on loopback refuses foreign names.
  ///   - bodyLength: nil for a body in chunks, or for none where the client announced none.
  static func requestHead(
    _ head: HTTPRequestHead, target: String, host: String, bodyLength: Int?, isChunked: Bool,
    into buffer: inout ByteBuffer
  ) {
    buffer.writeString(head.method.rawValue)
    buffer.writeString(" ")
    buffer.writeString(target)
    buffer.writeString(" HTTP/1.1\r\nHost: ")
    buffer.writeString(host)
    buffer.writeString("\r\n")
    let named = Set(head.headers[canonicalForm: "connection"].map { $0.lowercased() })
    for (name, value) in head.headers where !isDropped(name) {
      if !named.isEmpty, named.contains(name.lowercased()) { continue }
      writeField(name, value, into: &buffer)
    }
    if isChunked {
      buffer.writeString("Transfer-Encoding: chunked\r\n")
    } else if let bodyLength {
      writeField("Content-Length", String(bodyLength), into: &buffer)
    }
    buffer.writeString("\r\n")
  }

  /// Fields of a request that concern the client's connection alone (RFC 9110, 7.6.1), that are made anew, or that
  /// the gateway deals with itself: an instance would refuse an `Origin` that it doesn't know, and who somebody is does
  /// not concern it.
  private static let droppedRequestFields: [StaticString] = [
    "host", "connection", "content-length", "transfer-encoding", "expect", "origin", "keep-alive", "te", "trailer",
    "upgrade", "proxy-connection", "proxy-authorization", "proxy-authenticate", "authorization", "x-api-key",
    "cookie",
  ]

  private static func isDropped(_ name: String) -> Bool {
    let length = name.utf8.count
    return droppedRequestFields.contains { field in
      guard field.utf8CodeUnitCount == length else { return false }
      return field.withUTF8Buffer { name.utf8.elementsEqualIgnoringCase($0) }
    }
  }

  /// How the end of an answer's body is shown to the client.
  enum BodyEnd {
    /// There is none, and no field about it.
    case none
    case length(Int)
    case chunked
    case close
  }

  /// The head of an instance's answer as the client gets it.
  static func answerHead(
    _ head: ResponseHead, _ bytes: UnsafeRawBufferPointer, end: BodyEnd, tail: AnswerTail,
    into buffer: inout ByteBuffer
  ) {
    buffer.writeString("HTTP/1.1 ")
    buffer.writeString(String(head.status))
    buffer.writeString(" ")
    buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[head.reason]))
    buffer.writeString("\r\n")
    for field in head.endToEndFields(bytes) {
      buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[field.name]))
      buffer.writeString(": ")
      buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[field.value]))
      buffer.writeString("\r\n")
    }
    write(end, into: &buffer)
    tail.write(into: &buffer)
  }

  /// The head of an answer of the pool's own.
  static func answerHead(
    status: Int, headers: [(name: String, value: String)], end: BodyEnd, tail: AnswerTail,
    into buffer: inout ByteBuffer
  ) {
    buffer.writeString("HTTP/1.1 ")
    buffer.writeString(String(status))
    buffer.writeString(" ")
    buffer.writeString(HTTPResponseStatus(statusCode: status).reasonPhrase)
    buffer.writeString("\r\n")
    for (name, value) in headers { writeField(name, value, into: &buffer) }
    write(end, into: &buffer)
    tail.write(into: &buffer)
  }

  private static func write(_ end: BodyEnd, into buffer: inout ByteBuffer) {
    switch end {
    case .none, .close: break
    case .length(let length): writeField("Content-Length", String(length), into: &buffer)
    case .chunked: buffer.writeString("Transfer-Encoding: chunked\r\n")
    }
  }

  static func writeField(_ name: String, _ value: String, into buffer: inout ByteBuffer) {
    buffer.writeString(name)
    buffer.writeString(": ")
    buffer.writeString(value)
    buffer.writeString("\r\n")
  }

  /// One chunk of content, framed; nothing for no content, since that would end the body.
  static func writeChunk(_ content: some Collection<UInt8>, into buffer: inout ByteBuffer) {
    let count = content.count
    guard count > 0 else { return }
    writeHexadecimal(count, into: &buffer)
    buffer.writeStaticString("\r\n")
    buffer.writeBytes(content)
    buffer.writeStaticString("\r\n")
  }

  private static func writeHexadecimal(_ number: Int, into buffer: inout ByteBuffer) {
    let digits = max(1, (Int.bitWidth - number.leadingZeroBitCount + 3) / 4)
    for place in (0..<digits).reversed() {
      let digit = UInt8(truncatingIfNeeded: number >> (4 * place)) & 15
      buffer.writeInteger(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }

  static let lastChunk = "0\r\n\r\n"
  static let `continue` = "HTTP/1.1 100 Continue\r\n\r\n"
}

/// The fields that the gateway adds to every answer, and the blank line.
struct AnswerTail {
  static let requestIDField = "X-Request-Id"

  var requestID: UInt64?
  var fields: [(name: String, value: String)] = []
  var keepsAlive: Bool
  /// A client of HTTP/1.0 has to be told that the connection stays.
  var isHTTP10 = false

  func write(into buffer: inout ByteBuffer) {
    for (name, value) in fields { HTTPText.writeField(name, value, into: &buffer) }
    if let requestID { HTTPText.writeField(Self.requestIDField, String(requestID), into: &buffer) }
    if !keepsAlive {
      buffer.writeString("Connection: close\r\n")
    } else if isHTTP10 {
      buffer.writeString("Connection: keep-alive\r\n")
    }
    buffer.writeString("\r\n")
  }
}

extension Sequence where Element == UInt8 {
  /// Compares ASCII text whatever the case of its letters.
  func elementsEqualIgnoringCase(_ other: some Sequence<UInt8>) -> Bool {
    elementsEqual(other) { ASCII.lowercased($0) == ASCII.lowercased($1) }
  }
}
