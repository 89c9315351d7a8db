package import NIOCore
package import NIOWebSocket

/// What comes over a WebSocket, on the loop.
package protocol WebSocketDelegate: AnyObject {
  /// A whole message, which is text.
  func socketReceived(_ text: ByteBuffer)
  /// The client takes more again.
  func socketCaughtUp()
  /// It is closed, whoever did it. Comes exactly once.
  func socketClosed()
}

/// A connection over which both sides send messages when they like: RFC 6455. On the loop.
///
/// A client that does not take what it is sent is not read either, so that little is held for it; one that takes
/// nothing for ``GatewayLimits/clientStall`` is taken to have left. What is held of messages that are not whole counts
/// among ``GatewayLimits/bodies``, and each has to be whole within ``GatewayLimits/bodyPause``.
package final class WebSocket: ChannelDuplexHandler {
  package typealias InboundIn = WebSocketFrame
  package typealias OutboundIn = Never
  package typealias OutboundOut = WebSocketFrame

  /// The longest message, in bytes, and of how many frames it may be made.
  static let messageLimit = 1 << 20
  static let frameLimit = 256
  /// What was read at once may hold so many messages of a client that takes no answers.
  static let untakenLimit = 64

  /// nil once it is closed, which may be in the middle of a write.
  private var connection: ClientConnection?
  private let exchange: Exchange
  private var delegate: (any WebSocketDelegate)?
  private var context: ChannelHandlerContext?
  private var isClosing = false
  private(set) var isReading = true
  /// A message of which more frames are to come.
  private var partial: (bytes: ByteBuffer, frames: Int)?
  /// What came of a frame that is not whole, in bytes.
  private var partialFrame = 0
  /// What counts as held of these two, in bytes.
  private var heldBytes = 0
  /// Messages that came while the client took nothing.
  private var untaken = 0
  private var expected: ClientConnection.Expectation?

  init(_ connection: ClientConnection, _ exchange: Exchange, _ delegate: any WebSocketDelegate) {
    self.connection = connection
    self.exchange = exchange
    self.delegate = delegate
  }

  /// Whether the client takes more without anything piling up.
  package var takesMore: Bool { !isClosing && context?.channel.isWritable == true }

  package func send(_ text: some Collection<UInt8>) {
    guard !isClosing, let context else { return }
    write(.text, ByteBuffer(bytes: text), context)
  }

  /// Something that only shows that the connection lives.
  package func ping() {
    guard takesMore, let context else { return }
    write(.ping, ByteBuffer(), context)
  }

  /// Why the pool closes it.
  package enum Farewell {
    case poolStops
    /// Whoever it is may not come in any longer.
    case notAdmitted
  }

  package func close(_ farewell: Farewell) {
    switch farewell {
    case .poolStops: close(.goingAway, "the server is being stopped or restarted")
    case .notAdmitted: close(.policyViolation, "unauthenticated")
    }
  }

  /// A message has been on its way for too long.
  func messageIsLate() { close(.policyViolation, "a message comes whole in its time") }

  /// Says why, and closes. What the client still sends is read and thrown away for a while: a reset could overtake
  /// the farewell.
  private func close(_ code: WebSocketErrorCode, _ reason: String = "") {
    guard !isClosing, let context else { return }
    isClosing = true
    partial = nil
    account()
    var data = context.channel.allocator.buffer(capacity: 2 + reason.utf8.count)
    data.write(webSocketErrorCode: code)
    data.writeString(String(reason.prefix(100)))
    write(.connectionClose, data, context)
    connection?.expect(.closing)
    setReading(true, context)
    context.close(mode: .output, promise: nil)
  }

  /// Closes at once, whatever is under way.
  func abort() { context?.close(promise: nil) }

  private func setReading(_ reading: Bool, _ context: ChannelHandlerContext) {
    isReading = reading
    try? context.channel.syncOptions?.setOption(.autoRead, value: reading)
  }

  private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: data)), promise: nil)
  }

  // MARK: The channel's events

  package func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  package func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    guard !isClosing else {
      // Now both have said farewell.
      if frame.opcode == .connectionClose { abort() }
      return
    }
    take(frame, context)
    // Whatever comes next has its own time.
    if partial == nil, case .message = expected, !isClosing { expect(nil) }
    account()
  }

  private func take(_ frame: WebSocketFrame, _ context: ChannelHandlerContext) {
    // RFC 6455, 5.1 and 5.2.
    guard let mask = frame.maskKey, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
      return close(.protocolError, "frames of clients are masked, and no extension was agreed on")
    }
    var content = frame.data
    content.webSocketUnmask(mask)
    switch frame.opcode {
    case .text where partial == nil: take(content, frames: 1, isWhole: frame.fin)
    case .continuation:
      guard var message = partial else { return close(.protocolError, "nothing is to be continued") }
      partial = nil
      message.bytes.writeBuffer(&content)
      take(message.bytes, frames: message.frames + 1, isWhole: frame.fin)
    case .binary: close(.unacceptableData, "messages are text")
    // One that does not read what it is sent gets no more.
    case .ping: if takesMore { write(.pong, content, context) }
    case .pong: break
    case .connectionClose:
      close(.normalClosure)
      abort()
    default: close(.protocolError)
    }
  }

  private func take(_ content: ByteBuffer, frames: Int, isWhole: Bool) {
    guard content.readableBytes <= Self.messageLimit, frames <= Self.frameLimit else {
      return close(.messageTooLarge, "messages have at most \(Self.messageLimit) bytes in \(Self.frameLimit) frames")
    }
    guard isWhole else {
      // A slice would keep all alive that was read with it.
      partial = (frames == 1 ? ByteBuffer(buffer: content) : content, frames)
      return
    }
    guard String(validating: content.readableBytesView, as: UTF8.self) != nil else {
      return close(.dataInconsistentWithMessage, "text is UTF-8")
    }
    if !takesMore { untaken += 1 }
    guard untaken <= Self.untakenLimit else {
      return close(.policyViolation, "more messages came than answers are taken")
    }
    delegate?.socketReceived(content)
  }

  /// So much is there of a frame that is not whole, in bytes.
  func frameContinued(_ bytes: Int) {
    partialFrame = bytes
    account()
  }

  /// Counts what is held of a message that is on its way, and sets the time for what the client has to do next.
  private func account() {
    let bytes = isClosing ? 0 : partialFrame + (partial?.bytes.readableBytes ?? 0)
    exchange.hold(bytes - heldBytes)
    let isMore = bytes > heldBytes
    heldBytes = bytes
    guard !isClosing, let context else { return }
    if isMore, exchange.gateway.freeBytes < 0 {
      exchange.gateway.delegate.gatewayRefused(.memoryFull, from: exchange.peerAddress)
      // "Try again later" in the registry that RFC 6455, 11.7, began.
      return close(.unknown(1013), "the server holds as many messages as its memory allows")
    }
    let next: ClientConnection.Expectation? =
      !context.channel.isWritable ? .takingAnswer : bytes > 0 || partial != nil ? .message : nil
    if next != expected { expect(next) }
  }

  private func expect(_ next: ClientConnection.Expectation?) {
    expected = next
    connection?.expect(next)
  }

  package func channelWritabilityChanged(context: ChannelHandlerContext) {
    guard !isClosing else { return }
    let isWritable = context.channel.isWritable
    setReading(isWritable, context)
    account()
    guard isWritable else { return }
    untaken = 0
    delegate?.socketCaughtUp()
  }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    case NIOWebSocketError.invalidFrameLength:
      close(.messageTooLarge, "messages have at most \(Self.messageLimit) bytes")
    case is NIOWebSocketError: close(.protocolError)
    // What comes behind a fault is no frame.
    case is ByteToMessageDecoderError where isClosing: break
    default: abort()
    }
  }

  package func channelInactive(context: ChannelHandlerContext) {
    isClosing = true
    partial = nil
    account()
    delegate.take()?.socketClosed()
    connection.take()?.upgradedClosed(exchange)
  }
}

/// Takes frames apart, and tells what it holds of one that is not whole.
struct WebSocketFrames: ByteToMessageDecoder {
  typealias InboundOut = WebSocketFrame

  private let decoder = WebSocketFrameDecoder(maxFrameSize: WebSocket.messageLimit)
  let socket: WebSocket

  init(for socket: WebSocket) { self.socket = socket }

  mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
    let state = try decoder.decode(context: context, buffer: &buffer)
    socket.frameContinued(buffer.readableBytes)
    return state
  }
}
