import NIOCore
import NIOHTTP1

/// One connection: turns its parts into exchanges, one after the other.
final class HTTPHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  /// Bytes of a body that is read whole; more is 413.
  private static let bodyLimit = 256 << 20

  private let server: Server
  private var exchange: Exchange?
  private var upload: BlobUpload?

  init(_ server: Server) { self.server = server }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      let exchange = Exchange(head, context: context)
      self.exchange = exchange
      upload = server.begin(exchange)
      if upload == nil && !exchange.isAnswered { exchange.continueIfExpected() }
    case .body(let bytes):
      guard let exchange, !exchange.isAnswered, !exchange.isIgnored else { return }
      if upload != nil {
        bytes.withUnsafeReadableBytes { upload?.append($0) }
      } else if exchange.body.count + bytes.readableBytes > Self.bodyLimit {
        exchange.closesAfterwards = true
        exchange.fail(Refusal(status: 413, message: "http: request body too large"))
      } else {
        exchange.body.append(contentsOf: bytes.readableBytesView)
      }
    case .end:
      guard let exchange, !exchange.isAnswered, !exchange.isIgnored else { return }
      if upload != nil {
        let outcome = upload?.finish()
        upload = nil
        Management.answer(exchange, upload: outcome)
      } else {
        server.serve(exchange)
      }
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { exchange?.becameWritable() }
  }

  func channelInactive(context: ChannelHandlerContext) {
    upload?.cancel()
    upload = nil
    exchange?.clientWent()
    exchange = nil
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
