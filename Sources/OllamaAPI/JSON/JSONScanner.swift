import Glibc

/// Finds its way through JSON text without decoding it: what is not asked for is skipped at the speed of `memchr`.
///
/// It accepts some text that is no JSON (in numbers and words, and in what it skips); it never reads outside its bytes
/// and uses constant memory.
struct JSONScanner {
  /// What Go's `encoding/json` allows.
  static let depthLimit = 10_000
  /// How much of a string is looked at byte by byte.
  private static let nearBytes = 16

  private let bytes: UnsafeRawBufferPointer
  private(set) var position = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { position >= bytes.count }

  /// The next byte that is not white space, not consumed; nil at the end.
  mutating func peek() -> UInt8? {
    while position < bytes.count {
      let byte = bytes[position]
      switch byte {
      case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): position += 1
      default: return byte
      }
    }
    return nil
  }

  /// Consumes `byte` when it is next.
  mutating func take(_ byte: UInt8) -> Bool {
    guard peek() == byte else { return false }
    position += 1
    return true
  }

  /// Consumes a string and returns the range between its quotes, still escaped; nil when it has no end or none begins.
  mutating func string() -> Range<Int>? {
    guard take(UInt8(ascii: "\"")) else { return nil }
    let start = position
    guard let quote = closingQuote(from: start) else {
      position = bytes.count
      return nil
    }
    position = quote + 1
    return start..<quote
  }

  /// Where the string ends whose content begins at `start`.
  private func closingQuote(from start: Int) -> Int? {
    guard let base = bytes.baseAddress else { return nil }
    var index = start
    while index < bytes.count {
      // Calling `memchr` costs as much as a look at some bytes: a short string, or one full of escapes, is cheaper so.
      let near = min(index + Self.nearBytes, bytes.count)
      while index < near {
        switch bytes[index] {
        case UInt8(ascii: "\""): return index
        case UInt8(ascii: "\\"): index += 2
        default: index += 1
        }
      }
      guard index < bytes.count, let found = memchr(base + index, Int32(UInt8(ascii: "\"")), bytes.count - index) else {
        return nil
      }
      let quote = UnsafeRawPointer(found) - base
      if isPrecededByEvenBackslashes(quote, since: index) { return quote }
      index = quote + 1
    }
    return nil
  }

  private func isPrecededByEvenBackslashes(_ quote: Int, since start: Int) -> Bool {
    var first = quote
    while first > start, bytes[first - 1] == UInt8(ascii: "\\") { first -= 1 }
    return (quote - first).isMultiple(of: 2)
  }

  /// Consumes any value and returns its range; nil when it has no end, or is nested too deeply.
  mutating func value() -> Range<Int>? {
    guard let first = peek() else { return nil }
    let start = position
    switch first {
    case UInt8(ascii: "\""):
      guard string() != nil else { return nil }
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      guard skipContainer() else { return nil }
    default:
      while position < bytes.count, !isDelimiter(bytes[position]) { position += 1 }
      // Where the text ends, a number or a word may have been cut.
      guard position > start, position < bytes.count else { return nil }
    }
    return start..<position
  }

  private mutating func skipContainer() -> Bool {
    var depth = 0
    // Kept apart from `position`, which would be written for every byte.
    var index = position
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      if byte == UInt8(ascii: "\"") {
        guard let quote = closingQuote(from: index) else { break }
        index = quote + 1
      } else if byte | 0x20 == UInt8(ascii: "{") {
        // Or `[`, which is 0x20 less, as `]` is less than `}`.
        depth += 1
        guard depth < Self.depthLimit else { return false }
      } else if byte | 0x20 == UInt8(ascii: "}") {
        depth -= 1
        if depth == 0 {
          position = index
          return true
        }
      }
    }
    position = bytes.count
    return false
  }

  private func isDelimiter(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), UInt8(ascii: ":"), UInt8(ascii: "\""),
      UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"),
      UInt8(ascii: "\t"):
      true
    default: false
    }
  }
}

extension JSONScanner {
  /// How far the walk over an object's members came.
  enum ObjectEnd { case closed, truncated, malformed, stopped }

  /// Walks over the members of the object that begins here.
  ///
  /// - Parameter visit: gets the ranges of a key (without quotes, escaped) and of its value; false stops the walk.
  mutating func members(_ visit: (Range<Int>, Range<Int>) -> Bool) -> ObjectEnd {
    guard take(UInt8(ascii: "{")) else { return isAtEnd ? .truncated : .malformed }
    if take(UInt8(ascii: "}")) { return .closed }
    while true {
      guard let quote = peek() else { return .truncated }
      guard quote == UInt8(ascii: "\"") else { return .malformed }
      guard let key = string() else { return .truncated }
      guard take(UInt8(ascii: ":")) else { return isAtEnd ? .truncated : .malformed }
      guard let value = value() else { return isAtEnd ? .truncated : .malformed }
      guard visit(key, value) else { return .stopped }
      if take(UInt8(ascii: ",")) { continue }
      if take(UInt8(ascii: "}")) { return .closed }
      return isAtEnd ? .truncated : .malformed
    }
  }

  /// The ranges of the elements of the array that begins here; nil when it is none, or has no end.
  mutating func elements() -> [Range<Int>]? {
    guard take(UInt8(ascii: "[")) else { return nil }
    var ranges: [Range<Int>] = []
    if take(UInt8(ascii: "]")) { return ranges }
    while let range = value() {
      ranges.append(range)
      if take(UInt8(ascii: ",")) { continue }
      return take(UInt8(ascii: "]")) ? ranges : nil
    }
    return nil
  }
}
