import Glibc

/// Watches the body of an answer go by, and tells whether it came to its proper end.
///
/// The verdict depends on the bytes alone, not on how they were split. It costs one `memchr` a line and a look at its
/// beginning, and holds at most ``windowBytes`` of a line that has not ended yet.
package struct StreamEnd: Sendable {
  package enum Outcome: Sendable, Hashable {
    /// The end marker came last.
    case complete
    /// The instance reported an error within the stream.
    case failedInBand
    /// Neither came: the stream was cut.
    case truncated
  }

  /// How much of a line is looked at: more than any line's beginning up to `"done"`.
  package static let windowBytes = 65_536

  package let format: StreamFormat
  /// How many pieces of an answer have come, which are nearly its tokens: lines, or events. At the end of generate and
  /// chat what they say there, if that is more than the lines before. Of a whole message, what it says at its end, or a
  /// fourth of its bytes.
  package var tokens: Int {
    if format == .wholeMessage { return tail.tokens }
    // It grows only. None has more tokens than bytes.
    return toldTokens.map { max(pieces - 1, min($0, byteCount)) } ?? pieces
  }
  /// Of the question, as the answer says at its end; OpenAI's and Anthropic's streams say nothing that is looked for.
  package var questionTokens: Int? { format == .wholeMessage ? tail.questionTokens : toldQuestionTokens }
  private var toldQuestionTokens: Int?
  /// By the last line, which has none itself.
  private var toldTokens: Int?
  private var pieces = 0
  private var byteCount = 0
  private var tail = MessageTail()
  private var verdict = Outcome.truncated
  private var partial = PartialLine()
  /// For events: what the event being received amounts to once its blank line comes.
  private var pending: Outcome?

  package init(_ format: StreamFormat) { self.format = format }

  /// What the stream amounts to if it ended here. For `.wholeMessage` only the HTTP framing knows the end.
  package var outcome: Outcome { format == .wholeMessage ? .complete : verdict }

  /// Takes the next bytes of the body (without HTTP's chunk framing).
  package mutating func consume(_ bytes: UnsafeRawBufferPointer) {
    guard format != .wholeMessage, let base = bytes.baseAddress else {
      tail.append(bytes)
      return
    }
    byteCount += bytes.count
    var start = 0
    while start < bytes.count {
      guard let found = memchr(base + start, Int32(UInt8(ascii: "\n")), bytes.count - start) else {
        partial.append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        return
      }
      let end = UnsafeRawPointer(found) - base
      let tail = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
      if partial.isEmpty {
        lineEnded(tail, lastByte: Self.lastInk(tail) ?? 0)
      } else {
        partial.append(tail)
        let line = partial
        partial = PartialLine()
        line.withBytes { lineEnded($0, lastByte: line.lastByte) }
        partial = line
        partial.clear()
      }
      start = end + 1
    }
  }

  package mutating func consume(_ bytes: some Sequence<UInt8>) {
    let done: Void? = bytes.withContiguousStorageIfAvailable { consume(UnsafeRawBufferPointer($0)) }
    if done == nil { Array(bytes).withUnsafeBytes { consume($0) } }
  }

  /// - Parameters:
  ///   - line: at most ``windowBytes`` of it, without its line feed.
  ///   - lastByte: the line's last byte that is not white space.
  private mutating func lineEnded(_ line: UnsafeRawBufferPointer, lastByte: UInt8) {
    switch format {
    case .generation, .progress:
      // A blank line says nothing; after an error nothing else counts.
      guard lastByte != 0, verdict != .failedInBand else { return }
      pieces += 1
      toldTokens = nil
      let marks = lastByte == UInt8(ascii: "}")
      if marks, StreamLine.beginsWithError(line) {
        verdict = .failedInBand
      } else if marks, format == .generation ? StreamLine.isDone(line) : StreamLine.isSuccess(line) {
        verdict = .complete
        if format == .generation {
          (toldQuestionTokens, toldTokens) = (StreamLine.questionTokens(line), StreamLine.answerTokens(line))
        }
      } else {
        verdict = .truncated
      }
    case .openAIEvents, .anthropicEvents:
      if lastByte == 0 {
        pieces += 1
        if let pending, verdict != .failedInBand { verdict = pending }
        pending = nil
      } else if let meaning = StreamLine.meaning(ofEventLine: line, anthropic: format == .anthropicEvents),
        pending != .failedInBand
      {
        pending = meaning
      }
    case .wholeMessage:
      break
    }
  }

  fileprivate static func lastInk(_ bytes: UnsafeRawBufferPointer) -> UInt8? {
    bytes.last { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: "\t") }
  }
}

/// The beginning of a line whose end has not come yet.
private struct PartialLine: Sendable {
  private var window: [UInt8] = []
  /// The last byte that is not white space; 0 while there is none.
  private(set) var lastByte: UInt8 = 0
  private(set) var isEmpty = true

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard !bytes.isEmpty else { return }
    isEmpty = false
    window.append(contentsOf: bytes.prefix(StreamEnd.windowBytes - window.count))
    if let ink = StreamEnd.lastInk(bytes) { lastByte = ink }
  }

  mutating func clear() {
    window.removeAll(keepingCapacity: true)
    lastByte = 0
    isEmpty = true
  }

  func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) { window.withUnsafeBytes(body) }
}
