import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Becoming a WebSocket: the handlers of HTTP make room for those of the other protocol.
extension ClientConnection {
  /// - Returns: false where the client is gone.
  func upgrade(to socket: WebSocket, accept: String, headers: [(name: String, value: String)]) -> Bool {
    guard let context, context.channel.isActive else { return false }
    var head = ByteBufferAllocator().buffer(capacity: 256)
    head.writeString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    HTTPText.writeField("Sec-WebSocket-Accept", accept, into: &head)
    for (name, value) in headers { HTTPText.writeField(name, value, into: &head) }
    head.writeString("\r\n")
    expect(nil)
    // It may stand still for what came before.
    setReading(true)
    try? context.channel.syncOptions?.setOption(
      .recvAllocator,
      value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 512, maximum: WebSocket.mostRead))
    self.socket = socket
    context.writeAndFlush(wrapOutboundOut(head), promise: nil)
    let pipeline = context.pipeline.syncOperations
    do {
      try pipeline.addHandler(WebSocketFrameEncoder())
      try pipeline.addHandler(
        ByteToMessageHandler(WebSocketFrames(for: socket), maximumBufferSize: WebSocketMessages.longest * 2))
      try pipeline.addHandler(socket)
    } catch {
      context.close(promise: nil)
      return false
    }
    pipeline.removeHandler(decoding, promise: nil)
    pipeline.removeHandler(self, promise: nil)
    // The last one: what came behind the request goes to the handlers that are there now.
    if let decoder = decoding.decoder { pipeline.removeHandler(decoder, promise: nil) }
    return true
  }

  func upgradedClosed(_ exchange: Exchange) {
    socket = nil
    exchange.clientLeft()
    gateway.closed(self)
  }
}
