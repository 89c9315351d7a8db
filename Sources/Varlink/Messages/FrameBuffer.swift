import FoundationEssentials
import Glibc
import NIOCore

/// Bytes of one connection on their way to becoming messages: whole messages come out one by one, when asked for.
///
/// This is no pipeline decoder, which would decode all that it is given: a call waits here as bytes until the one
/// before it is answered, so that the bound on bytes bounds all that a peer can make the process hold.
struct FrameBuffer {
  /// Reading stops at this many bytes while a whole message waits here: the kernel keeps the rest.
  static let readAheadBytes = 65_536

  /// What is known of the first message.
  private enum Head {
    /// No NUL among the first `searched` bytes → `complete`, `overlong`.
    case incomplete(searched: Int)
    /// `length` bytes, then NUL → any, when it is taken out.
    case complete(length: Int)
    /// Longer than the limit: the end.
    case overlong
  }

  private let maximumMessageBytes: Int
  private var bytes = ByteBuffer()
  private var head = Head.incomplete(searched: 0)

  init(maximumMessageBytes: Int) {
    self.maximumMessageBytes = maximumMessageBytes
  }

  /// Whether more bytes should stay in the kernel for now. Never true while the first message needs them.
  var isFull: Bool {
    switch head {
    case .incomplete: false
    case .complete: bytes.readableBytes >= Self.readAheadBytes
    case .overlong: true
    }
  }

  var isEmpty: Bool { bytes.readableBytes == 0 }

  mutating func append(_ incoming: ByteBuffer) {
    if isEmpty { bytes = incoming } else { bytes.writeImmutableBuffer(incoming) }
    lookForEnd()
  }

  /// The next whole message without its NUL, or nil if its end has not come yet.
  /// - Throws: `.malformed` if it is longer than the limit, from then on always.
  mutating func next() throws(VarlinkError) -> Data? {
    switch head {
    case .incomplete:
      return nil
    case .overlong:
      throw .malformed("a message is longer than \(maximumMessageBytes) bytes")
    case .complete(let length):
      let message = Data(bytes.readableBytesView.prefix(length))
      bytes.moveReaderIndex(forwardBy: length + 1)
      if isEmpty {
        bytes = ByteBuffer()
      } else if bytes.readerIndex > bytes.readableBytes {
        // Not after every message: moving a full buffer for each of its small ones would be quadratic.
        bytes.discardReadBytes()
      }
      head = .incomplete(searched: 0)
      lookForEnd()
      return message
    }
  }

  private mutating func lookForEnd() {
    guard case .incomplete(let searched) = head else { return }
    let length = bytes.withUnsafeReadableBytes { all -> Int? in
      guard let start = all.baseAddress, searched < all.count else { return nil }
      return memchr(start + searched, 0, all.count - searched).map { start.distance(to: $0) }
    }
    if (length ?? bytes.readableBytes) > maximumMessageBytes {
      head = .overlong
    } else if let length {
      head = .complete(length: length)
    } else {
      head = .incomplete(searched: bytes.readableBytes)
    }
  }
}
