/// What one line of a streamed answer of `/api/chat` says.
package struct ChatLine: Sendable, Equatable {
  /// The next piece of the answer; empty where it has none, as while a model thinks.
  package var content = ""
  /// The instance's own error, in words.
  package var error: String?
  package var isDone = false

  /// Reads one line; whatever is not there, or is something else, counts as nothing.
  package init(_ line: UnsafeRawBufferPointer) {
    var scanner = JSONScanner(line)
    var (content, error, isDone) = ("", String?.none, false)
    _ = scanner.members { key, value in
      let (key, text) = (line[key], line[value])
      if key.elementsEqual("message".utf8) {
        content = Self.text("content", of: text) ?? ""
      } else if key.elementsEqual("error".utf8) {
        error = Self.string(text) ?? Self.text("message", of: text)
      } else if key.elementsEqual("done".utf8) {
        isDone = text.elementsEqual("true".utf8)
      }
      return true
    }
    (self.content, self.error, self.isDone) = (content, error, isDone)
  }

  private static func string(_ value: Slice<UnsafeRawBufferPointer>) -> String? {
    guard value.count >= 2, value.first == UInt8(ascii: "\"") else { return nil }
    return JSONText.unescaped(value.dropFirst().dropLast())
  }

  private static func text(_ wanted: StaticString, of object: Slice<UnsafeRawBufferPointer>) -> String? {
    let object = UnsafeRawBufferPointer(rebasing: object)
    var found: String?
    var scanner = JSONScanner(object)
    _ = scanner.members { key, value in
      guard wanted.withUTF8Buffer({ object[key].elementsEqual($0) }) else { return true }
      found = string(object[value])
      return found == nil
    }
    return found
  }
}

/// Cuts what comes in pieces into lines.
package struct LineSplitter: Sendable {
  /// A longer line is no line of an answer, in bytes.
  private static let limit = 4 << 20

  private var rest: [UInt8] = []
  /// Whether a line was longer than any may be. Nothing more comes then.
  package private(set) var isOverrun = false

  package init() {}

  /// - Parameter body: gets each line, without its end.
  package mutating func split(_ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
    guard !isOverrun else { return }
    var bytes = bytes[...]
    while let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
      let piece = UnsafeRawBufferPointer(rebasing: bytes[..<end])
      if rest.isEmpty {
        body(piece)
      } else {
        rest += piece
        rest.withUnsafeBytes(body)
        rest.removeAll(keepingCapacity: true)
      }
      bytes = bytes[(end + 1)...]
    }
    rest += bytes
    if rest.count > Self.limit {
      isOverrun = true
      rest = []
    }
  }

  /// What came after the last line's end, as a line.
  package mutating func finish(_ body: (UnsafeRawBufferPointer) -> Void) {
    if !rest.isEmpty { rest.withUnsafeBytes(body) }
    rest = []
  }
}
