import NIOCore
import NIOWebSocket

/// Puts a client's frames together to messages, and holds it to the rules: RFC 6455, 5. A value without I/O.
struct WebSocketMessages {
  /// The longest message, in bytes, and of how many frames it may be made.
  static let longest = 1 << 20
  static let mostFrames = 256

  /// What a frame comes to.
  enum Step {
    /// A whole message, which is text.
    case message(ByteBuffer)
    case ping(ByteBuffer)
    case farewell
    /// More is to come, or nothing is to be done.
    case nothing
    /// - Parameter because: for people.
    case fault(WebSocketErrorCode, because: String)
  }

  /// A message of which more frames are to come.
  private var partial: (bytes: ByteBuffer, frames: Int)?

  var isAmidMessage: Bool { partial != nil }
  /// What is held, in bytes.
  var bytes: Int { partial?.bytes.readableBytes ?? 0 }

  mutating func take(_ frame: WebSocketFrame) -> Step {
    // RFC 6455, 5.1 and 5.2.
    guard let mask = frame.maskKey, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
      return .fault(.protocolError, because: "frames of clients are masked, and no extension was agreed on")
    }
    var content = frame.data
    content.webSocketUnmask(mask)
    switch frame.opcode {
    case .text where partial == nil: return take(content, frames: 1, isWhole: frame.fin)
    case .continuation:
      guard var message = partial else { return .fault(.protocolError, because: "nothing is to be continued") }
      partial = nil
      message.bytes.writeBuffer(&content)
      return take(message.bytes, frames: message.frames + 1, isWhole: frame.fin)
    case .binary: return .fault(.unacceptableData, because: "messages are text")
    case .ping: return .ping(content)
    case .pong: return .nothing
    case .connectionClose: return .farewell
    default: return .fault(.protocolError, because: "no such frame may come here")
    }
  }

  private mutating func take(_ content: ByteBuffer, frames: Int, isWhole: Bool) -> Step {
    guard content.readableBytes <= Self.longest, frames <= Self.mostFrames else {
      return .fault(
        .messageTooLarge, because: "messages have at most \(Self.longest) bytes in \(Self.mostFrames) frames")
    }
    guard isWhole else {
      // A slice would keep all alive that was read with it.
      partial = (frames == 1 ? ByteBuffer(buffer: content) : content, frames)
      return .nothing
    }
    guard String(validating: content.readableBytesView, as: UTF8.self) != nil else {
      return .fault(.dataInconsistentWithMessage, because: "text is UTF-8")
    }
    return .message(content)
  }
}

/// How many frames of one client are dealt with: more than a person or a program in its right mind sends. A value
/// without I/O.
struct FrameAllowance {
  /// As many as may come at once, and in each second from then on.
  static let most = 100
  private static let each = TimeAmount.milliseconds(10)
  /// Whoever has used them up waits for the next ten.
  static let pause = each * 10

  /// When as many may come at once again.
  private var fullAt = NIODeadline.distantPast

  /// - Returns: whether one more may be dealt with; if so, it counts.
  mutating func take(at now: NIODeadline) -> Bool {
    let full = max(fullAt, now) + Self.each
    guard full - now <= Self.each * Self.most else { return false }
    fullAt = full
    return true
  }
}

/// Takes frames apart, and tells what it holds of one that is not whole.
struct WebSocketFrames: ByteToMessageDecoder {
  typealias InboundOut = WebSocketFrame

  private let decoder = WebSocketFrameDecoder(maxFrameSize: WebSocketMessages.longest)
  private let socket: WebSocket

  init(for socket: WebSocket) { self.socket = socket }

  mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
    guard !socket.isClosing else {
      // A flood isn't worth looking at.
      buffer.moveReaderIndex(forwardBy: buffer.readableBytes)
      return .needMoreData
    }
    let state = try decoder.decode(context: context, buffer: &buffer)
    socket.frameContinued(buffer.readableBytes)
    return state
  }
}
