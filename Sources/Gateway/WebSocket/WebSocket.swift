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
/// among ``GatewayLimits/bodies``, and each has to be whole within ``GatewayLimits/bodyPause``. Of a flood few frames
/// are dealt with in each second, see ``FrameAllowance``, so that nobody else waits for it.
package final class WebSocket: ChannelDuplexHandler {
  package typealias InboundIn = WebSocketFrame
  package typealias OutboundIn = Never
  package typealias OutboundOut = WebSocketFrame

  /// What is read at once, in bytes: so much of a flood is held.
  static let mostRead = 4 << 10

  /// nil once it is closed, which may be in the middle of a write.
  private var connection: ClientConnection?
  private let exchange: Exchange
  private var delegate: (any WebSocketDelegate)?
  private var context: ChannelHandlerContext?
  private(set) var isClosing = false
  private(set) var isReading = true

  /// Frames that wait for their turn, no more than were read at once.
  private var waiting = CircularBuffer<WebSocketFrame>(initialCapacity: 1)
  private var allowance = FrameAllowance()
  /// Whether those that wait are looked at again in a while.
  private var isTurnDue = false
  /// What is sent for one frame must not bring the next one on.
  private var isTaking = false
  private var messages = WebSocketMessages()
  /// What came of a frame that is not whole, in bytes.
  private var partialFrame = 0
  /// What counts as held of messages that are not whole, in bytes.
  private var heldBytes = 0
  private var expected: ClientConnection.Expectation?

  init(_ connection: ClientConnection, _ exchange: Exchange, _ delegate: any WebSocketDelegate) {
    self.connection = connection
    self.exchange = exchange
    self.delegate = delegate
  }

  // MARK: What goes

  /// Whether the client takes more without anything piling up.
  package var takesMore: Bool { !isClosing && isWritable }
  private var isWritable: Bool { context?.channel.isWritable == true }

  package func send(_ text: some Collection<UInt8>) {
    guard !isClosing, let context else { return }
    write(.text, ByteBuffer(bytes: text), context)
  }

  /// Something that only shows that the connection lives.
  package func ping() {
    guard takesMore, let context else { return }
    write(.ping, ByteBuffer(), context)
  }

  private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: data)), promise: nil)
  }

  // MARK: Its end

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

  /// Says why, and closes. What the client still sends is read and thrown away, until it closes its side or for a
  /// while: a reset could overtake the farewell.
  private func close(_ code: WebSocketErrorCode, _ reason: String = "") {
    guard !isClosing, let context else { return }
    giveUpMessages()
    var data = context.channel.allocator.buffer(capacity: 2 + reason.utf8.count)
    data.write(webSocketErrorCode: code)
    data.writeString(String(reason.prefix(100)))
    write(.connectionClose, data, context)
    expect(.closing)
    setReading(true)
    context.close(mode: .output, promise: nil)
  }

  /// Closes at once, whatever is under way.
  func abort() { context?.close(promise: nil) }

  private func giveUpMessages() {
    isClosing = true
    waiting.removeAll()
    messages = WebSocketMessages()
    account()
  }

  // MARK: What comes

  /// Deals with frames that came, as many as are allowed, and reads on once none waits. None is dealt with while the
  /// client takes no answers.
  private func takeWaiting() {
    guard !isTaking else { return }
    isTaking = true
    defer { isTaking = false }
    while takesMore, !waiting.isEmpty, allowance.take(at: .now()) {
      take(waiting.removeFirst())
      // Whatever comes next has its own time.
      if !messages.isAmidMessage, case .message = expected, !isClosing { expect(nil) }
      account()
    }
    guard !isClosing else { return }
    setReading(isWritable && waiting.isEmpty)
    guard !waiting.isEmpty, !isTurnDue, let context else { return }
    isTurnDue = true
    context.eventLoop.assumeIsolated().scheduleTask(in: FrameAllowance.pause) { [self] in
      isTurnDue = false
      takeWaiting()
    }
  }

  private func take(_ frame: WebSocketFrame) {
    guard let context else { return }
    switch messages.take(frame) {
    case .message(let text): delegate?.socketReceived(text)
    case .ping(let content): write(.pong, content, context)
    case .nothing: break
    case .fault(let code, let reason): close(code, reason)
    case .farewell:
      close(.normalClosure)
      abort()
    }
  }

  /// So much is there of a frame that is not whole, in bytes.
  func frameContinued(_ bytes: Int) {
    partialFrame = bytes
    account()
  }

  /// Counts what is held of a message that is on its way, and sets the time for what the client has to do next.
  private func account() {
    let bytes = isClosing ? 0 : partialFrame + messages.bytes
    let isMore = bytes > heldBytes
    exchange.hold(bytes - heldBytes)
    heldBytes = bytes
    guard !isClosing else { return }
    if isMore, exchange.gateway.freeBytes < 0 {
      exchange.gateway.delegate.gatewayRefused(.memoryFull, from: exchange.peerAddress)
      // "Try again later" in the registry that RFC 6455, 11.7, began.
      return close(.unknown(1013), "the server holds as many messages as its memory allows")
    }
    let next: ClientConnection.Expectation? =
      !isWritable ? .takingAnswer : bytes > 0 || messages.isAmidMessage ? .message : nil
    if next != expected { expect(next) }
  }

  private func expect(_ next: ClientConnection.Expectation?) {
    expected = next
    connection?.expect(next)
  }

  private func setReading(_ reading: Bool) {
    guard isReading != reading else { return }
    isReading = reading
    try? context?.channel.syncOptions?.setOption(.autoRead, value: reading)
  }

  // MARK: The channel's events

  package func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  package func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosing else { return }
    waiting.append(unwrapInboundIn(data))
    takeWaiting()
  }

  package func channelWritabilityChanged(context: ChannelHandlerContext) {
    guard !isClosing else { return }
    account()
    if isWritable { delegate?.socketCaughtUp() }
    takeWaiting()
  }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    case NIOWebSocketError.invalidFrameLength:
      close(.messageTooLarge, "messages have at most \(WebSocketMessages.longest) bytes")
    case is NIOWebSocketError: close(.protocolError)
    // What comes behind a fault is no frame.
    case is ByteToMessageDecoderError where isClosing: break
    default: abort()
    }
  }

  package func channelInactive(context: ChannelHandlerContext) {
    giveUpMessages()
    delegate.take()?.socketClosed()
    connection.take()?.upgradedClosed(exchange)
  }
}
