/// What the pool reads in the body of a request: the fields that choose an instance and the shape of the answer.
package struct RequestFields: Sendable, Hashable {
  /// A longer value is no model's name, and is not copied out of the body; in bytes as they stand there.
  static let longestModel = 4096

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
  package static func scan(_ body: UnsafeRawBufferPointer) -> RequestFields? {
    var fields = RequestFields()
    var scanner = JSONScanner(body)
    let end = scanner.members { key, value in
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
    case .closed, .stopped: return fields
    case .truncated: return body.isEmpty ? nil : fields
    case .malformed: return nil
    }
  }

  package static func scan(_ body: some Collection<UInt8>) -> RequestFields? {
    if let fields = body.withContiguousStorageIfAvailable({ scan(UnsafeRawBufferPointer($0)) }) { return fields }
    return Array(body).withUnsafeBytes { scan($0) }
  }

  private static func boolean(_ text: Slice<UnsafeRawBufferPointer>) -> Bool? {
    if text.elementsEqual("true".utf8) { return true }
    if text.elementsEqual("false".utf8) { return false }
    return nil
  }
}
