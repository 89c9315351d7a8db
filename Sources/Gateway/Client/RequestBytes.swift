import OllamaAPI

/// How a request began. Of requests that are sent one right after the other it tells the first alone; the others get
/// Ollama's dialect then. A value without I/O.
struct RequestBeginning {
  /// Enough for a method and the part of a path that tells the dialect.
  private static let length = 64

  /// Whether what comes next is a head, or the rest of one.
  var isExpected = true {
    didSet { if isExpected != oldValue { line = [] } }
  }
  private var line: [UInt8] = []

  mutating func read(_ bytes: UnsafeRawBufferPointer) {
    if isExpected, line.count < Self.length { line += bytes.prefix(Self.length - line.count) }
  }

  var dialect: Dialect {
    let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
    return words.count > 1 ? Dialect.of(target: String(decoding: words[1], as: UTF8.self)) : .ollama
  }
}

/// How far a request has been read, to tell whether anything was read behind it. A value without I/O.
///
/// The decoder tells of whole parts alone: the first bytes of a further head it keeps to itself. So the bytes of the
/// head are counted here, up to its empty line, and those behind it. Once more was read than one request nothing can be
/// told any more.
struct RequestExtent {
  private static let headEnd = Array("\r\n\r\n".utf8)

  /// Whether the count began with a request.
  private var isCertain = true
  /// How much of the empty line that ends the head was seen last; all of it once the head has ended.
  private var matched = 0
  /// Bytes behind the head.
  private var behind = 0

  mutating func read(_ bytes: UnsafeRawBufferPointer) {
    guard isCertain else { return }
    var index = 0
    while matched < Self.headEnd.count, index < bytes.count {
      let byte = bytes[index]
      matched = byte == Self.headEnd[matched] ? matched + 1 : byte == Self.headEnd[0] ? 1 : 0
      index += 1
    }
    behind += bytes.count - index
  }

  /// Whether all that was read is one request.
  ///
  /// - Parameter bytes: of its body; nil where nobody knows how many of those that were read were its own.
  func isEnd(afterBodyOf bytes: Int?) -> Bool { isCertain && matched == Self.headEnd.count && behind == bytes }

  /// What is read from now on is of the next request.
  mutating func begin(afterBodyOf bytes: Int?) {
    isCertain = isEnd(afterBodyOf: bytes)
    matched = 0
    behind = 0
  }
}
