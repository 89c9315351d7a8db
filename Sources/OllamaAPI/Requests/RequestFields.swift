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

  private static func boolean(_ text: Slice<UnsafeRawBufferPointer>) -> Bool? {
    if text.elementsEqual("true".utf8) { return true }
    if text.elementsEqual("false".utf8) { return false }
    return nil
  }
}
