import Glibc
import NIOCore
import NIOPosix
import OllamaAPI
import PoolCore

/// A connection to an instance: carries one exchange after the other. What comes is passed on as it came, at once.
///
/// It stays on the loop of the clients it serves, and reads no further while the client's tail is not empty.
final class UpstreamConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  let address: SocketAddress
  /// The value of the header `Host`.
  let host: String
  private let pool: UpstreamPool
  private var context: ChannelHandlerContext?
  private var exchange: Exchange?

  /// Whether it has carried an exchange before.
  private var isReused = false
  private var carriesSince = NIODeadline.now()
  private(set) var isConnected = false
  private var isClosed = false
  private(set) var isWritable = true
  /// Whether reading stands still because the client is slow.
  private(set) var isPaused = false
  private var problem: String?
  /// When it was put aside; for the pool.
  var idleSince = NIODeadline.now()

  private var scanner = ResponseScanner(isHead: false)
  /// The head that has come; nil before.
  private var head: ResponseHead?
  private var hasReceived = false
  /// Bytes that are no whole head, size line or trailer section yet.
  private var unread: ByteBuffer?

  init(to address: SocketAddress, pool: UpstreamPool) {
    self.address = address
    self.pool = pool
    host = UpstreamPool.hostHeader(for: address)
  }

  /// What the part of the body that was passed on lacks to be continued.
  var debt: ResponseScanner.Debt { scanner.debt }

  // MARK: For the exchange

  /// Begins an exchange: sends its request as soon as there is a connection.
  func carry(_ exchange: Exchange) {
    self.exchange = exchange
    carriesSince = .now()
    scanner = ResponseScanner(isHead: exchange.route.isHead)
    head = nil
    hasReceived = false
    unread = nil
    problem = nil
    if isConnected { exchange.sendRequest(over: self) }
  }

  /// Closes the connection, which ends what the instance was doing; the exchange hears nothing more of it.
  func abandon() {
    exchange = nil
    close()
  }

  func send(_ bytes: ByteBuffer) { context?.write(wrapOutboundOut(bytes), promise: nil) }
  func flush() { context?.flush() }

  func close() {
    isClosed = true
    isConnected = false
    context?.close(promise: nil)
  }

  /// Puts reading to rest, or takes it up again.
  func setPaused(_ paused: Bool) {
    guard isPaused != paused, !isClosed else { return }
    isPaused = paused
    if !paused { exchange?.progressedAt = .now() }
    try? context?.channel.syncOptions?.setOption(.autoRead, value: !paused)
  }

  // MARK: The channel's events

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if isClosed { context.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    guard !isClosed else { return }
    isConnected = true
    exchange?.sendRequest(over: self)
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    isWritable = context.channel.isWritable
    if isWritable { exchange?.pumpBody() }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    guard let exchange else {
      // Nothing was asked for.
      close()
      return
    }
    hasReceived = true
    if var earlier = unread {
      unread = nil
      earlier.writeBuffer(&bytes)
      bytes = earlier
    }
    if head == nil {
      guard readHead(&bytes, exchange) else { return }
    }
    let step = bytes.withUnsafeReadableBytes { raw in scanner.readBody(raw) { exchange.observe($0) } }
    if step.consumed > 0 { exchange.passOn(bytes, step) }
    guard self.exchange === exchange else { return }

    if let error = step.error {
      lose("its answer is malformed: \(error.rawValue)")
    } else if scanner.isComplete {
      finish(mayBeReused: head?.keepsAlive == true && step.consumed == bytes.readableBytes)
    } else if step.consumed < bytes.readableBytes {
      bytes.moveReaderIndex(forwardBy: step.consumed)
      unread = bytes
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    guard let client = exchange?.client else { return }
    client.flush()
    if !client.isWritable { setPaused(true) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    problem = problem ?? (error as? IOError).map { "the connection broke: \($0)" }
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    isClosed = true
    isConnected = false
    pool.forget(self)
    guard exchange != nil else { return }
    if head != nil, scanner.endsWithConnection, problem == nil {
      finish(mayBeReused: false)
    } else {
      lose(problem ?? "it closed the connection " + (hasReceived ? "in the middle of its answer" : "without an answer"))
    }
  }

  /// No connection came about.
  func connectFailed(_ error: any Error) {
    isClosed = true
    guard let exchange else { return }
    self.exchange = nil
    let problem = "no connection to \(host): \(error)"
    if UpstreamPool.isOwnWant(error) {
      exchange.connectionLacked(problem: problem)
    } else {
      let isRefused = (error as? IOError)?.errnoCode == ECONNREFUSED
      exchange.attemptFailed(isRefused ? .refused : .broken, problem: problem)
    }
  }

  // MARK: The answer

  /// - Returns: whether the body may be read from `bytes`.
  private func readHead(_ bytes: inout ByteBuffer, _ exchange: Exchange) -> Bool {
    switch bytes.withUnsafeReadableBytes({ scanner.readHead($0) }) {
    case .incomplete(let consumed):
      bytes.moveReaderIndex(forwardBy: consumed)
      unread = bytes.readableBytes > 0 ? bytes : nil
      return false
    case .invalid(let error):
      lose("its answer is malformed: \(error.rawValue)")
      return false
    case .head(let head):
      self.head = head
      guard exchange.answerArrived(head, bytes, from: self) else {
        // The delegate had it end, or go elsewhere.
        if self.exchange === exchange { abandon() }
        return false
      }
      bytes.moveReaderIndex(forwardBy: head.end)
      return true
    }
  }

  /// The answer is complete: the connection serves the next exchange, which may begin before this one's end is told.
  private func finish(mayBeReused: Bool) {
    guard let exchange else { return }
    self.exchange = nil
    if mayBeReused, exchange.hasSentRequest, !isClosed {
      setPaused(false)
      isReused = true
      pool.put(self)
    } else {
      close()
    }
    exchange.answerEnded()
  }

  private func lose(_ problem: String) {
    guard let exchange else { return }
    self.exchange = nil
    close()
    if head != nil {
      exchange.answerLost(problem: problem, owed: scanner.debt)
    } else if isReused, !hasReceived, .now() - carriesSince < pool.limits.upstreamClosingTime {
      exchange.retry(to: address)
    } else {
      exchange.attemptFailed(.broken, problem: problem)
    }
  }
}
