package import NIOCore
import NIOPosix

/// Where a request of the pool's own goes.
package enum UpstreamTarget: Hashable, Sendable {
  case address(SocketAddress)
  /// A name that is looked up, or an IP address without brackets.
  case host(String, port: UInt16)

  /// The value of the header `Host`.
  var header: String {
    switch self {
    case .address(let address): UpstreamPool.hostHeader(for: address)
    case .host(let name, let port): name.contains(":") ? "[\(name)]:\(port)" : "\(name):\(port)"
    }
  }
}

/// One request of the pool's own to an instance, such as a probe, or to a service of the operator's. On the loop.
package struct UpstreamRequest {
  /// The answer's status and whole body, or what prevented it. Always completes within the time given.
  package let answer: EventLoopFuture<UpstreamAnswer>
  private let call: UpstreamCall

  /// Sends the request over a connection of its own.
  ///
  /// - Parameters:
  ///   - time: from now to the answer's end.
  ///   - bodyLimit: what the answer's body may take, in bytes.
  package static func send(
    _ method: String, _ path: String, body: [UInt8] = [], to address: SocketAddress, within time: TimeAmount,
    bodyLimit: Int = 1 << 20, on loop: any EventLoop
  ) -> UpstreamRequest {
    send(method, path, body: body, to: .address(address), within: time, bodyLimit: bodyLimit, on: loop)
  }

  package static func send(
    _ method: String, _ path: String, headers: [(name: String, value: String)] = [], body: [UInt8] = [],
    to target: UpstreamTarget, within time: TimeAmount, bodyLimit: Int = 1 << 20, on loop: any EventLoop
  ) -> UpstreamRequest {
    var request = ByteBuffer()
    request.writeString("\(method) \(path) HTTP/1.1\r\n")
    HTTPText.writeField("Host", target.header, into: &request)
    HTTPText.writeField("User-Agent", "ollama-pool", into: &request)
    HTTPText.writeField("Connection", "close", into: &request)
    for (name, value) in headers { HTTPText.writeField(name, value, into: &request) }
    if !body.isEmpty {
      HTTPText.writeField("Content-Type", "application/json", into: &request)
      HTTPText.writeField("Content-Length", String(body.count), into: &request)
    }
    request.writeString("\r\n")
    request.writeBytes(body)

    let call = UpstreamCall(request, isHead: method == "HEAD", bodyLimit: bodyLimit, on: loop)
    call.start(target, within: time)
    return UpstreamRequest(answer: call.promise.futureResult, call: call)
  }

  /// Closes the connection, which also ends what the instance was doing; the answer fails.
  package func cancel() { call.end(.failure(.cancelled)) }
}

package struct UpstreamAnswer: Hashable, Sendable {
  package let status: Int
  package let body: [UInt8]
}

/// Why there is no answer.
package enum UpstreamRequestError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Nobody listens there, or the network doesn't lead there.
  case noConnection(String)
  /// This process could open none, which says nothing of the instance.
  case lacksConnection(String)
  case timedOut(TimeAmount)
  case closedEarly
  case malformed(String)
  case bodyTooLarge(limit: Int)
  case cancelled

  package var description: String {
    switch self {
    case .noConnection(let reason), .lacksConnection(let reason): "no connection: \(reason)"
    case .timedOut(let time): "no answer within \(Double(time.nanoseconds) / 1e9) s"
    case .closedEarly: "the connection ended before the answer did"
    case .malformed(let reason): "the answer is malformed: \(reason)"
    case .bodyTooLarge(let limit): "the answer's body is larger than \(limit) bytes"
    case .cancelled: "cancelled"
    }
  }
}

/// The connection of one `UpstreamRequest`.
private final class UpstreamCall: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  let promise: EventLoopPromise<UpstreamAnswer>
  private let loop: any EventLoop
  private let request: ByteBuffer
  private let bodyLimit: Int
  private var context: ChannelHandlerContext?
  private var timeout: Scheduled<Void>?
  private var hasEnded = false
  private var scanner: ResponseScanner
  private var status: Int?
  private var body: [UInt8] = []
  private var hasExceededLimit = false
  private var unread = ByteBuffer()

  init(_ request: ByteBuffer, isHead: Bool, bodyLimit: Int, on loop: any EventLoop) {
    self.request = request
    self.bodyLimit = bodyLimit
    self.loop = loop
    promise = loop.makePromise(of: UpstreamAnswer.self)
    scanner = ResponseScanner(isHead: isHead)
  }

  func start(_ target: UpstreamTarget, within time: TimeAmount) {
    let isolatedLoop = loop.assumeIsolated()
    timeout = isolatedLoop.scheduleTask(in: time) { [self] in
      end(.failure(.timedOut(time)))
    }
    let handler = NIOLoopBound(self, eventLoop: loop)
    let bootstrap = ClientBootstrap(group: loop)
      .connectTimeout(time)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler.value) }
      }
    let connected =
      switch target {
      case .address(let address): bootstrap.connect(to: address)
      case .host(let name, let port): bootstrap.connect(host: name, port: Int(port))
      }
    connected.assumeIsolated().whenFailure { [self] error in
      let reason = "\(error)"
      end(.failure(UpstreamPool.isOwnWant(error) ? .lacksConnection(reason) : .noConnection(reason)))
    }
  }

  /// Completes the answer; the first result counts.
  func end(_ result: Result<UpstreamAnswer, UpstreamRequestError>) {
    guard !hasEnded else { return }
    hasEnded = true
    timeout?.cancel()
    context?.close(promise: nil)
    promise.completeWith(result.mapError { $0 })
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if hasEnded { context.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(request), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !hasEnded else { return }
    var bytes = unwrapInboundIn(data)
    unread.writeBuffer(&bytes)
    if status == nil {
      switch unread.withUnsafeReadableBytes({ scanner.readHead($0) }) {
      case .incomplete(let consumed): unread.moveReaderIndex(forwardBy: consumed)
      case .invalid(let error): end(.failure(.malformed(error.rawValue)))
      case .head(let head):
        status = head.status
        unread.moveReaderIndex(forwardBy: head.end)
      }
    }
    guard let status, !hasEnded else { return }
    let step = unread.withUnsafeReadableBytes { raw in
      scanner.readBody(raw) { content in
        if content.count <= bodyLimit - body.count { body += content } else { hasExceededLimit = true }
      }
    }
    unread.moveReaderIndex(forwardBy: step.consumed)
    unread.discardReadBytes()
    if hasExceededLimit {
      end(.failure(.bodyTooLarge(limit: bodyLimit)))
    } else if let error = step.error {
      end(.failure(.malformed(error.rawValue)))
    } else if scanner.isComplete {
      end(.success(UpstreamAnswer(status: status, body: body)))
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelInactive(context: ChannelHandlerContext) {
    if let status, scanner.endsWithConnection {
      end(.success(UpstreamAnswer(status: status, body: body)))
    } else {
      end(.failure(.closedEarly))
    }
  }
}
