import DequeModule
import NIOCore
import NIOHTTP1

/// What a client has sent of further requests while one is being answered. A value without I/O.
///
/// Once it is much, reading stops. What had been read by then still comes, and a read of 64 KiB may hold thousands of
/// heads, each of which takes many times its bytes when it is decoded. So there is a bound that nothing passes, too.
struct WaitingParts {
  /// From these on reading stops; costs are in bytes.
  static let manyParts = 32
  static let highCost = 16 << 10
  /// More than these are not kept.
  static let mostParts = 128
  /// Pieces of a body are put together up to this, in bytes.
  private static let joinedPiece = 4 << 10

  private var parts: Deque<HTTPServerRequestPart> = []
  /// About what they take in memory, in bytes.
  private(set) var cost = 0

  var isEmpty: Bool { parts.isEmpty }
  var isMuch: Bool { parts.count >= Self.manyParts || cost >= Self.highCost }

  /// - Returns: false if there are too many; then it is not among them.
  mutating func append(_ part: HTTPServerRequestPart) -> Bool {
    guard case .body(let piece) = part else { return appendWhole(part) }
    guard case .body(var last)? = parts.last, last.readableBytes + piece.readableBytes <= Self.joinedPiece else {
      // A piece of what was read keeps all of it alive.
      return appendWhole(.body(ByteBuffer(buffer: piece)))
    }
    // Out of the list, so that it isn't copied.
    parts.removeLast()
    last.writeImmutableBuffer(piece)
    parts.append(.body(last))
    cost += piece.readableBytes
    return true
  }

  private mutating func appendWhole(_ part: HTTPServerRequestPart) -> Bool {
    guard parts.count < Self.mostParts else { return false }
    parts.append(part)
    cost += part.cost
    return true
  }

  mutating func popFirst() -> HTTPServerRequestPart? {
    guard let part = parts.popFirst() else { return nil }
    cost -= part.cost
    return part
  }

  mutating func removeAll() { self = WaitingParts() }
}

extension HTTPServerRequestPart {
  /// About what it takes in memory, in bytes: its text, and what was measured for a part and for a field beside it.
  fileprivate var cost: Int {
    switch self {
    case .head(let head): Self.partCost + head.bytes + Self.fieldCost * head.headers.count
    case .body(let bytes): Self.partCost + bytes.readableBytes
    case .end(let trailers): Self.partCost + (trailers.map { $0.bytes + Self.fieldCost * $0.count } ?? 0)
    }
  }

  private static let partCost = 300
  private static let fieldCost = 40
}
