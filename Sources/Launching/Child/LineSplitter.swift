/// Makes lines of a stream of bytes. What is longer than ``longestLine`` is cut there and goes on as a line of its own.
struct LineSplitter {
  static let longestLine = 8192

  private var rest: [UInt8] = []

  mutating func add(_ bytes: some Sequence<UInt8>) -> [String] {
    var lines: [String] = []
    for byte in bytes {
      if byte != UInt8(ascii: "\n") { rest.append(byte) }
      if byte == UInt8(ascii: "\n") || rest.count >= Self.longestLine { lines += [takeRest()] }
    }
    return lines
  }

  /// What came after the last line's end; nil for nothing.
  mutating func finish() -> String? { rest.isEmpty ? nil : takeRest() }

  private mutating func takeRest() -> String {
    defer { rest.removeAll(keepingCapacity: true) }
    return String(decoding: rest, as: UTF8.self)
  }
}
