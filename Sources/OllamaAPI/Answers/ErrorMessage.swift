extension ErrorBody {
  /// The message in an error of any dialect; nil when `body` is none.
  package static func message(in body: [UInt8]) -> String? {
    body.withUnsafeBytes { bytes in
      guard let error = member("error", of: bytes) else { return nil }
      let value = UnsafeRawBufferPointer(rebasing: bytes[error])
      if let text = text(value) { return text }
      return member("message", of: value).flatMap { text(UnsafeRawBufferPointer(rebasing: value[$0])) }
    }
  }

  private static func member(_ name: StaticString, of object: UnsafeRawBufferPointer) -> Range<Int>? {
    var found: Range<Int>?
    var scanner = JSONScanner(object)
    _ = scanner.members { key, value in
      if JSONText.key(object[key], names: name) { found = value }
      return found == nil
    }
    return found
  }

  private static func text(_ value: UnsafeRawBufferPointer) -> String? {
    guard value.first == UInt8(ascii: "\""), value.count >= 2 else { return nil }
    return JSONText.unescaped(value[value.indices.dropFirst().dropLast()])
  }
}
