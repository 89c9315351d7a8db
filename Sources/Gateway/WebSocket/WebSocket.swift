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
/// A client that does not take what it is sent is not read either, so that little is held for it.
package final class WebSocket: ChannelDuplexHandler {
  package typealias InboundIn = WebSocketFrame
  package typealias OutboundIn = Never
  package typealias OutboundOut = WebSocketFrame

  /// The longest message, in bytes, and of how many frames it may be made.
  static let messageLimit = 1 << 20
  static let frameLimit = 256

  private unowned let connection: ClientConnection
  private let exchange: Exchange
  private var delegate: (any WebSocketDelegate)?
  private var context: ChannelHandlerContext?
  private var isClosing = false
  /// A message of which more frames are to come.
  private var partial: (bytes: ByteBuffer, frames: Int)?

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

  /// Says why, and closes.
  private func close(_ code: WebSocketErrorCode, _ reason: String = "") {
    guard !isClosing, let context else { return }
    isClosing = true
    var data = context.channel.allocator.buffer(capacity: 2 + reason.utf8.count)
    data.write(webSocketErrorCode: code)
    data.writeString(String(reason.prefix(100)))
    write(.connectionClose, data, context)
    context.close(mode: .all, promise: nil)
  }

  private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: data)), promise: nil)
  }

  // MARK: The channel's events

  package func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  package func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosing else { return }
    let frame = unwrapInboundIn(data)
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
    case .connectionClose: close(.normalClosure)
    default: close(.protocolError)
    }
  }

  private func take(_ content: ByteBuffer, frames: Int, isWhole: Bool) {
    guard content.readableBytes <= Self.messageLimit, frames <= Self.frameLimit else {
      return close(.messageTooLarge, "messages have at most \(Self.messageLimit) bytes in \(Self.frameLimit) frames")
    }
    guard isWhole else {
      partial = (content, frames)
      return
    }
    guard String(validating: content.readableBytesView, as: UTF8.self) != nil else {
      return close(.dataInconsistentWithMessage, "text is UTF-8")
    }
    delegate?.socketReceived(content)
  }

  package func channelWritabilityChanged(context: ChannelHandlerContext) {
    let isWritable = context.channel.isWritable
    try? context.channel.syncOptions?.setOption(.autoRead, value: isWritable)
    if isWritable { delegate?.socketCaughtUp() }
  }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    case NIOWebSocketError.invalidFrameLength:
      close(.messageTooLarge, "messages have at most \(Self.messageLimit) bytes")
    case is NIOWebSocketError: close(.protocolError)
    default: context.close(promise: nil)
    }
  }

  package func channelInactive(context: ChannelHandlerContext) {
    let delegate = delegate
    self.delegate = nil
    delegate?.socketClosed()
    connection.upgradedClosed(exchange)
  }
}
