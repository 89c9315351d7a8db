import NIOCore
import NIOHTTP1

/// The connections that are open, on the loop.
final class MetricsConnections {
  let source: MetricsSource
  var open: [ObjectIdentifier: any Channel] = [:]

  init(_ source: MetricsSource) { self.source = source }
}

/// One connection: reads one request, answers it, and closes.
final class MetricsConnection: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = ByteBuffer

  private struct Answer {
    var status: HTTPResponseStatus
    var body: String
    var contentType = "text/plain; charset=utf-8"
    var headers: [String] = []
  }

  private let connections: MetricsConnections
  private var head: HTTPRequestHead?
  private var hasAnswered = false
  private var timeout: Scheduled<Void>?

  init(_ connections: MetricsConnections) { self.connections = connections }

  func channelActive(context: ChannelHandlerContext) {
    guard connections.open.count < MetricsListener.maximumConnections else {
      context.close(promise: nil)
      return
    }
    connections.open[ObjectIdentifier(self)] = context.channel
    let channel = context.channel
    timeout = context.eventLoop.scheduleTask(in: MetricsListener.connectionTime) { channel.close(promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    connections.open[ObjectIdentifier(self)] = nil
    timeout?.cancel()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard context.channel.isActive, !hasAnswered else { return }
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break
    case .end: if let head { send(answer(to: head), isHead: head.method == .HEAD, context) }
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard context.channel.isActive, !hasAnswered, error is HTTPParserError else {
      context.close(promise: nil)
      return
    }
    send(Answer(status: .badRequest, body: "This is no request that HTTP/1.1 knows.\n"), isHead: false, context)
  }

  private func answer(to head: HTTPRequestHead) -> Answer {
    let paths = ["/metrics", "/healthz", "/readyz"]
    let path = String(head.uri.prefix { $0 != "?" })
    guard paths.contains(path) else {
      return Answer(status: .notFound, body: "There is \(paths.joined(separator: ", ")) here, and nothing else.\n")
    }
    guard head.method == .GET else {
      return Answer(status: .methodNotAllowed, body: "Only GET is allowed here.\n", headers: ["Allow: GET"])
    }
    switch path {
    case "/metrics":
      return Answer(status: .ok, body: connections.source.metrics(), contentType: MetricsText.contentType)
    case "/readyz":
      switch connections.source.readiness() {
      case .ready: return Answer(status: .ok, body: "ready\n")
      case .notReady(let reason): return Answer(status: .serviceUnavailable, body: "not ready: \(reason)\n")
      }
    default:
      return Answer(status: .ok, body: "alive\n")
    }
  }

  private func send(_ answer: Answer, isHead: Bool, _ context: ChannelHandlerContext) {
    hasAnswered = true
    let lines =
      [
        "HTTP/1.1 \(answer.status.code) \(answer.status.reasonPhrase)", "Content-Type: \(answer.contentType)",
        "Content-Length: \(answer.body.utf8.count)", "Connection: close",
      ] + answer.headers
    let text = lines.joined(separator: "\r\n") + "\r\n\r\n" + (isHead ? "" : answer.body)
    let channel = context.channel
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text))).whenComplete { _ in channel.close(promise: nil) }
  }
}
