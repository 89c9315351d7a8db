import Glibc

/// Finds where an instance's answer ends, and decodes nothing but its head. A value without I/O.
///
/// The bytes of the body go on to the client as they came, so after each step what was consumed is a prefix of a valid
/// message that can still be ended properly: a chunk's size line, the CR LF behind its data and the trailer section are
/// each consumed whole or not at all. The caller presents what was not consumed again, with more bytes behind it.
struct ResponseScanner: Sendable {
  enum HeadStep {
    /// More bytes are needed; `consumed` of those given belong to interim answers and are done with.
    case incomplete(consumed: Int)
    case head(ResponseHead)
    case invalid(ResponseError)
  }

  struct BodyStep: Hashable {
    /// Bytes, from the first, that belong to the body and may be passed on.
    var consumed = 0
    /// Where in them the last chunk begins, if the message ended here with one.
    var terminator: Int?
    /// Why what follows the consumed bytes is no continuation of the message.
    var error: ResponseError?
  }

  /// What is missing for the message to be at a place where more content could follow.
  enum Debt: Hashable {
    /// Nothing.
    case none
    /// So many bytes of content, then CR LF.
    case content(Int)
    /// CR LF.
    case lineEnd
  }

  private enum State: Hashable {
    /// Before or within the head. → any other
    case head
    /// So many bytes to come. → complete
    case length(Int)
    /// Before a size line. → chunkData, complete
    case chunkSize
    /// So many bytes of a chunk to come. → chunkEnd
    case chunkData(Int)
    /// Before the CR LF behind a chunk. → chunkSize
    case chunkEnd
    /// Until the connection ends.
    case untilClose
    case complete
  }

  /// No chunk is larger: 2⁴⁰ bytes.
  static let chunkLimit = 1 << 40
  /// A size line with its extensions, in bytes.
  static let sizeLineLimit = 256
  static let trailerLimit = 8 << 10
  static let interimLimit = 8

  private let isHead: Bool
  private var state = State.head
  private var interimAnswers = 0

  /// - Parameter isHead: whether the request was one, so that no body follows.
  init(isHead: Bool) { self.isHead = isHead }

  /// Whether the message has ended. A body that ends with the connection never has.
  var isComplete: Bool { state == .complete }

  /// Whether the end of the connection is the proper end of the message.
  var endsWithConnection: Bool { state == .untilClose }

  var debt: Debt {
    switch state {
    case .length(let left): .content(left)
    case .chunkData(let left): .content(left)
    case .chunkEnd: .lineEnd
    case .head, .chunkSize, .untilClose, .complete: .none
    }
  }

  /// Reads the head, once; the offsets in it are into `bytes`.
  mutating func readHead(_ bytes: UnsafeRawBufferPointer) -> HeadStep {
    var start = 0
    while true {
      do throws(ResponseError) {
        guard let head = try ResponseHead.parse(bytes, from: start, isHead: isHead) else {
          return .incomplete(consumed: start)
        }
        if head.status < 200 {
          interimAnswers += 1
          guard interimAnswers <= Self.interimLimit else { return .invalid(.tooManyInterim) }
          start = head.end
          continue
        }
        state =
          switch head.framing {
          case .none: .complete
          case .length(let length): .length(length)
          case .chunked: .chunkSize
          case .untilClose: .untilClose
          }
        return .head(head)
      } catch {
        return .invalid(error)
      }
    }
  }

  /// Takes the next bytes of the body.
  ///
  /// - Parameter content: gets each piece of the content, without the framing.
  @inline(__always)
  mutating func readBody(
    _ bytes: UnsafeRawBufferPointer, content: (UnsafeRawBufferPointer) -> Void
  ) -> BodyStep {
    var step = BodyStep()
    while step.error == nil {
      let available = bytes.count - step.consumed
      switch state {
      case .chunkData(let left), .length(let left):
        guard available > 0 else { return step }
        let taken = min(left, available)
        content(UnsafeRawBufferPointer(rebasing: bytes[step.consumed..<step.consumed + taken]))
        step.consumed += taken
        if case .length = state {
          state = taken == left ? .complete : .length(left - taken)
        } else {
          state = taken == left ? .chunkEnd : .chunkData(left - taken)
        }
      case .chunkEnd:
        guard available >= 2 else { return step }
        guard bytes[step.consumed] == 13, bytes[step.consumed + 1] == 10 else {
          step.error = .badChunkEnd
          return step
        }
        step.consumed += 2
        state = .chunkSize
      case .chunkSize:
        guard available > 0, readSizeLine(bytes, &step) else { return step }
      case .untilClose:
        if available > 0 { content(UnsafeRawBufferPointer(rebasing: bytes[step.consumed...])) }
        step.consumed = bytes.count
        return step
      case .head, .complete:
        return step
      }
    }
    return step
  }

  /// - Returns: false when more bytes are needed.
  private mutating func readSizeLine(_ bytes: UnsafeRawBufferPointer, _ step: inout BodyStep) -> Bool {
    let start = step.consumed
    guard let base = bytes.baseAddress,
      let found = memchr(base + start, 10, min(bytes.count - start, Self.sizeLineLimit))
    else {
      if bytes.count - start >= Self.sizeLineLimit { step.error = .badChunkSize }
      return false
    }
    let feed = UnsafeRawPointer(found) - base
    guard let size = Self.chunkSize(bytes, start..<feed) else {
      step.error = .badChunkSize
      return false
    }
    if size > 0 {
      step.consumed = feed + 1
      state = .chunkData(size)
      return true
    }
    guard let end = ResponseHead.fieldSectionEnd(bytes, from: feed + 1) else {
      if bytes.count - feed > Self.trailerLimit { step.error = .badTrailer }
      return false
    }
    guard end - feed <= Self.trailerLimit, Self.areValidTrailers(bytes, feed + 1..<end) else {
      step.error = .badTrailer
      return false
    }
    step.terminator = start
    step.consumed = end
    state = .complete
    return true
  }

  /// The size in a line up to its line feed: hexadecimal digits, an extension perhaps, CR.
  private static func chunkSize(_ bytes: UnsafeRawBufferPointer, _ line: Range<Int>) -> Int? {
    guard line.count >= 2, bytes[line.upperBound - 1] == 13 else { return nil }
    let text = line.dropLast()
    var size = 0
    var position = text.startIndex
    while position < text.endIndex, let digit = hexDigit(bytes[position]) {
      size = size << 4 | digit
      guard size <= chunkLimit, position - text.startIndex < 16 else { return nil }
      position += 1
    }
    guard position > text.startIndex else { return nil }
    guard position == text.endIndex || bytes[position] == UInt8(ascii: ";") else { return nil }
    return ASCII.isFieldText(bytes, position..<text.endIndex) ? size : nil
  }

  private static func hexDigit(_ byte: UInt8) -> Int? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
    default: nil
    }
  }

  private static func areValidTrailers(_ bytes: UnsafeRawBufferPointer, _ section: Range<Int>) -> Bool {
    var start = section.lowerBound
    while start < section.upperBound {
      guard let feed = section[start...].first(where: { bytes[$0] == 10 }), feed > start, bytes[feed - 1] == 13 else {
        return false
      }
      let line = start..<(feed - 1)
      if !line.isEmpty {
        guard let field = try? ResponseHead.field(bytes, line), !framesMessage(field) else { return false }
      }
      start = feed + 1
    }
    return true
  }

  /// A trailer must not change how the message is framed (RFC 9110, 6.5.1).
  private static func framesMessage(_ field: ResponseHead.Field) -> Bool {
    field.kind == .contentLength || field.kind == .transferEncoding || field.kind == .connection
  }
}
