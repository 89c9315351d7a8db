package import PoolCore

/// What the pool reads in the body of a request: the fields that choose an instance and the shape of the answer.
package struct RequestFields: Sendable, Hashable {
  /// A longer value is no model's name, and is not copied out of the body; in bytes as they stand there.
  static let longestModel = 4096
  /// Members of the object at the top. Ollama's requests have fewer than 30; millions would hold up everybody else.
  package static let mostMembers = 1000

  /// The object at the top has more than ``mostMembers``: an instance might read what the pool has not.
  package struct TooManyMembers: Error {}

  /// `model`, unescaped; nil when it is missing, no string, or too long for a name.
  package var model: String?
  /// `stream`; nil when it is missing, null or no Boolean.
  package var stream: Bool?
  /// Of `options`, those for which a model is loaded anew; only Ollama's own API reads them.
  package var options = RunnerOptions()

  package init(model: String? = nil, stream: Bool? = nil) {
    self.model = model
    self.stream = stream
  }

  /// Reads the members of the object at the top of `body`, and skips all others.
  ///
  /// Keys match as in Go's `encoding/json`, which Ollama uses: case is ignored, and of several the last counts.
  ///
  /// - Returns: nil when `body` is no JSON object, such as a compressed or a multipart body.
  package static func scan(_ body: UnsafeRawBufferPointer) throws(TooManyMembers) -> RequestFields? {
    var fields = RequestFields()
    var scanner = JSONScanner(body)
    var members = 0
    let end = scanner.members { key, value in
      members += 1
      guard members <= mostMembers else { return false }
      let key = body[key]
      if JSONText.key(key, names: "model") {
        if body[value.lowerBound] == UInt8(ascii: "\"") {
          let isName = value.count <= longestModel
          fields.model = isName ? JSONText.unescaped(body[value.dropFirst().dropLast()]) : nil
        }
      } else if JSONText.key(key, names: "stream") {
        fields.stream = boolean(body[value])
      } else if JSONText.key(key, names: "options") {
        fields.options.read(body, value, &members)
        return members <= mostMembers
      }
      return true
    }
    switch end {
    case .closed: return fields
    case .stopped: throw TooManyMembers()
    case .truncated: return body.isEmpty ? nil : fields
    case .malformed: return nil
    }
  }

  package static func scan(_ body: some Sequence<UInt8>) throws -> RequestFields? {
    try Array(body).withUnsafeBytes { try scan($0) }
  }

  fileprivate static func boolean(_ text: Slice<UnsafeRawBufferPointer>) -> Bool? {
    if text.elementsEqual("true".utf8) { return true }
    if text.elementsEqual("false".utf8) { return false }
    return nil
  }
}

extension RunnerOptions {
  /// Takes what one `options` member says. Go reads them into a map, where keys differ by case; a further member adds
  /// to the map, and null empties it.
  ///
  /// - Parameter members: counts the object's, so that all together are bounded.
  fileprivate mutating func read(_ body: UnsafeRawBufferPointer, _ object: Range<Int>, _ members: inout Int) {
    guard body[object.lowerBound] == UInt8(ascii: "{") else {
      if body[object].elementsEqual("null".utf8) { self = RunnerOptions() }
      return
    }
    let text = UnsafeRawBufferPointer(rebasing: body[object])
    var scanner = JSONScanner(text)
    _ = scanner.members { key, value in
      members += 1
      guard members <= RequestFields.mostMembers else { return false }
      let (key, value) = (text[key], text[value])
      if JSONText.key(key, is: "num_ctx") {
        // Ollama takes no less.
        contextLength = JSONText.integer(value).map { max(4, $0) }
      } else if JSONText.key(key, is: "num_batch") {
        batchSize = JSONText.integer(value)
      } else if JSONText.key(key, is: "num_gpu") {
        gpuLayers = JSONText.integer(value).flatMap { $0 < 0 ? nil : $0 }
      } else if JSONText.key(key, is: "num_thread") {
        threads = JSONText.integer(value).flatMap { $0 == 0 ? nil : $0 }
      } else if JSONText.key(key, is: "use_mmap") {
        mapsFile = RequestFields.boolean(value)
      } else if JSONText.key(key, is: "use_mlock") {
        locksMemory = RequestFields.boolean(value)
      }
      return true
    }
  }
}
