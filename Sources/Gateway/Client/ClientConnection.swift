import NIOCore
import NIOHTTP1
import OllamaAPI
import PoolCore

/// A client's connection: reads its requests, one exchange at a time, and notices when it leaves.
///
/// Reading goes on while an exchange is under way, since a client that leaves shows by the end of what it sends. What
/// comes of further requests meanwhile waits, within bounds. The parts:
/// - here: the channel's events, and reading requests;
/// - `ClientConnection+Answer`: writing answers, and closing;
/// - `ClientConnection+Upgrade`: becoming a WebSocket.
final class ClientConnection: ChannelInboundHandler, RemovableChannelHandler, ExchangeClient {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = ByteBuffer

  enum Intake {
    /// Between two requests or in a head. → body, rest, deaf
    case head
    /// The rest of a request is to come. → answering, deaf
    case body(Exchange)
    /// The request is whole and being answered; what comes meanwhile waits. → head, deaf
    case answering(Exchange)
    /// The request has been answered by its head alone; its end, without a body, is to come. → head, deaf
    case rest
    /// Nothing more is taken for a request: what comes is thrown away.
    case deaf
  }

  /// What the client has to have done by a certain time.
  enum Expectation {
    case request, headEnd, bodyProgress, takingAnswer, closing
    /// It is the instance that has to take what came of the body.
    case uploadProgress
    /// The rest of a WebSocket's message.
    case message
  }

  // What each piece of an answer goes by comes first, as in an exchange.
  /// The channel's socket, as long as that is open; -1 where there is none.
  private(set) var descriptor: CInt = -1
  /// Whether the channel takes more without piling it up.
  var isWritable = true
  /// Whether the channel may have something that it has not sent yet.
  var channelMayHold = false
  /// What the channel should not be given yet, in one piece.
  var backlog = ByteBuffer()

  let gateway: Gateway
  let checksHost: Bool
  private(set) var peerAddress: SocketAddress?
  private(set) var context: ChannelHandlerContext?
  private(set) var intake = Intake.head
  private var waiting = WaitingParts()
  /// What is wrong with the requests behind the waiting ones.
  private var waitingFault: RequestFault?
  private var isTakingWaiting = false
  private var expectation: (what: Expectation, until: NIODeadline)?
  private(set) var isReading = true
  /// When the body that comes began to; for its rate.
  private var bodySince = NIODeadline.now()
  /// Whether the client sends its body only when it is asked to.
  private var bodyIsAwaited = false
  /// Whether what was read last completed anything.
  private var readParts = false
  let decoding: RequestDecoding

  // See `ClientConnection+Answer`.
  var isWritingBacklog = false
  /// What is held of answers because the client doesn't take it, in bytes.
  var untakenBytes = 0
  /// When it last took any of that.
  var tookAt = NIODeadline.now()
  var closesOnceSent = false
  /// Whether the answer to the current request is complete.
  var answerIsSent = false
  var nextKeepsAlive = true

  // See `ClientConnection+Upgrade`.
  /// Once it is a WebSocket.
  var socket: WebSocket?

  init(_ gateway: Gateway, checksHost: Bool, decoding: RequestDecoding) {
    self.gateway = gateway
    self.checksHost = checksHost
    self.decoding = decoding
  }

  // MARK: The channel's events

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    descriptor = -1
  }

  func channelActive(context: ChannelHandlerContext) {
    peerAddress = context.remoteAddress
    let socket = try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: CInt.self) { $0 }
    descriptor = socket ?? -1
    expect(.request)
    if !gateway.opened(self) {
      refuse(.tooManyConnections)
      if !gateway.refusedMayLinger { close() }
    } else if gateway.isStopping {
      // It was accepted just before the listeners were closed.
      closeOnceSent()
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    let exchange = currentExchange
    descriptor = -1
    intake = .deaf
    dropWaiting()
    backlog = ByteBuffer()
    countUntaken(0)
    exchange?.clientLeft()
    gateway.closed(self)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard context.channel.isActive else { return }
    let part = unwrapInboundIn(data)
    readParts = true
    decoding.decoded(part)
    if case .deaf = intake { return }
    if waiting.isEmpty, mayTakePart { take(part) } else { hold(part) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    // Bytes that made no part: a head is on its way.
    if !readParts, case .head = intake, case .request = expectation?.what { expect(.headEnd) }
    readParts = false
    if case .answering(let exchange) = intake, exchange.mayTakeLong, waiting.isEmpty {
      decoding.rest(afterBodyOf: exchange.plan.bodyLength)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard context.channel.isActive, !(error is IOError) else {
      context.close(promise: nil)
      return
    }
    let fault =
      switch error {
      case HTTPParserError.headerOverflow: RequestFault.headTooLong.spoken(decoding.dialect)
      default: RequestFault.malformed("The request breaks the rules of HTTP/1.1: \(error).", decoding.dialect)
      }
    switch intake {
    case .deaf: break
    case .answering: waitingFault = waitingFault ?? fault
    case .head, .rest, .body: if waiting.isEmpty { fail(fault) } else { waitingFault = waitingFault ?? fault }
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    isWritable = context.channel.isWritable
    writabilityChanged()
  }

  /// Whether the next part of a request can be dealt with. A client that doesn't take its answers gets no more of them.
  private var mayTakePart: Bool {
    switch intake {
    case .head: hasTakenAnswers
    case .rest, .body: true
    case .answering, .deaf: false
    }
  }

  private var currentExchange: Exchange? {
    switch intake {
    case .body(let exchange), .answering(let exchange): exchange
    case .head, .rest, .deaf: nil
    }
  }

  // MARK: Reading requests

  private func take(_ part: HTTPServerRequestPart) {
    do throws(RequestFault) {
      switch (part, intake) {
      case (.head(let head), .head): begin(head)
      case (.body(let bytes), .body(let exchange)):
        bodyIsAwaited = false
        expect(.bodyProgress)
        try exchange.bodyArrived(bytes)
        try checkRate(of: exchange)
      case (.end, .body(let exchange)):
        try exchange.readFields()
        expect(nil)
        intake = .answering(exchange)
        exchange.bodyEnded()
        exchange.arrive()
      case (.end, .rest):
        intake = .head
        decoding.next(afterBodyOf: 0)
        expect(.request)
      case (.head, _), (.body, _), (.end, _): break
      }
    } catch {
      fail(error)
    }
  }

  /// - Throws: where a body that is held in memory comes so slowly that it only fills it.
  private func checkRate(of exchange: Exchange) throws(RequestFault) {
    guard !exchange.isStreamed else { return }
    let limits = gateway.limits
    let time = TimeAmount.nanoseconds(Int64(exchange.bodyBytes) * 1_000_000_000 / Int64(max(1, limits.bodyRate)))
    if .now() - bodySince > limits.bodyPause + time { throw .slowRequest }
  }

  private func begin(_ head: HTTPRequestHead) {
    answerIsSent = false
    do throws(RequestFault) {
      switch try gateway.rules.judge(
        head, checksHost: checksHost,
        publicHost: gateway.delegate.publicHost(head.headers, from: peerAddress), freeBytes: gateway.freeBytes)
      {
      case .preflight(let headers, let keepsAlive):
        answerByHead(head, keepsAlive: keepsAlive) { tail in
          sendWhole(status: 204, headers: headers, body: [], isHead: true, tail: tail)
        }
      case .pass(let plan): begin(head, plan, caller: try caller(head, plan).map { Shared(wrappedValue: $0) })
      }
    } catch {
      let fault = error
      gateway.delegate.gatewayRefused(fault.refusal, from: peerAddress)
      answerByHead(head, keepsAlive: fault.refusal.leavesConnectionUsable && head.isKeepAlive) { tail in
        sendError(
          fault.error, dialect: fault.dialect, headers: fault.headers, isHead: head.method == .HEAD, tail: tail)
      }
    }
  }

  private func caller(_ head: HTTPRequestHead, _ plan: RequestPlan) throws(RequestFault) -> Caller? {
    switch gateway.delegate.gatewayAdmits(head, plan.route, from: plan.peer(at: peerAddress)) {
    case .admitted(let caller): return caller
    case .refused(let refusal, let reason):
      var fault = RequestFault(dialect: plan.route.dialect, refusal: refusal, message: reason)
      fault.headers += plan.corsHeaders
      throw fault
    }
  }

  private func begin(_ head: HTTPRequestHead, _ plan: RequestPlan, caller: Shared<Caller>?) {
    nextKeepsAlive = plan.keepsAlive
    let exchange = Exchange(gateway, client: self, peer: peerAddress, caller: caller, head: head, plan: plan)
    intake = .body(exchange)
    bodyIsAwaited = plan.expectsContinue && plan.hasBody
    // A client that waits to be asked for the body is not slow; for a streamed one that is when an instance takes it.
    expect(bodyIsAwaited ? nil : .bodyProgress)
    bodySince = .now()
    if exchange.isStreamed { exchange.arrive() } else { askForBody() }
  }

  /// Answers `Expect: 100-continue`, once.
  func askForBody() {
    guard bodyIsAwaited, case .body = intake else { return }
    bodyIsAwaited = false
    bodySince = .now()
    expect(.bodyProgress)
    send(ByteBuffer(string: HTTPText.continue))
    flush()
  }

  /// Answers at once. The connection goes on only if no body follows: one that nobody wants is not read.
  private func answerByHead(_ head: HTTPRequestHead, keepsAlive: Bool, _ send: (AnswerTail) -> Void) {
    intake = .rest
    let keepsAlive = keepsAlive && !head.announcesBody && !head.stopsDecoder && !gateway.isStopping
    send(AnswerTail(keepsAlive: keepsAlive, isHTTP10: head.version == .http1_0))
  }

  /// The request can't be read to its end.
  private func fail(_ fault: RequestFault) {
    guard case .body(let exchange) = intake else {
      refuse(fault)
      return
    }
    intake = .deaf
    if case .receiving = exchange.stage {
      exchange.end(.cancelled)
      var fault = fault.spoken(exchange.dialect)
      fault.headers = exchange.plan.corsHeaders
      refuse(fault)
    } else {
      exchange.requestBodyFailed(fault)
    }
  }

  private func hold(_ part: HTTPServerRequestPart) {
    // What follows a fault is no request.
    guard waitingFault == nil else { return }
    if !changeWaiting({ $0.append(part) }) { waitingFault = .pipelineFull.spoken(decoding.dialect) }
    if waiting.isMuch || gateway.freeBytes <= 0 { setReading(false) }
  }

  private func dropWaiting() { changeWaiting { $0.removeAll() } }

  private func changeWaiting<Result>(_ change: (inout WaitingParts) -> Result) -> Result {
    let before = waiting.cost
    defer { gateway.heldBytes += waiting.cost - before }
    return change(&waiting)
  }

  /// Goes on with what came while another request was being answered.
  func takeWaiting() {
    guard !isTakingWaiting else { return }
    isTakingWaiting = true
    defer { isTakingWaiting = false }
    while mayTakePart, let part = changeWaiting({ $0.popFirst() }) { take(part) }
    guard waiting.isEmpty, mayTakePart else { return }
    if case .body(let exchange) = intake, exchange.isStreamed { exchange.pumpBody() } else { setReading(true) }
    if let fault = waitingFault {
      waitingFault = nil
      fail(fault)
    }
  }

  // MARK: For the exchange

  var bodySource: (any AnswerReader)? { nil }
  func startOver() -> Bool { false }

  func answerMayKeepAlive(_ exchange: Exchange) -> Bool {
    nextKeepsAlive && exchange.bodyIsWhole && !gateway.isStopping
  }

  func exchangeEnded(_ exchange: Exchange, _ outcome: ExchangeOutcome) {
    guard let current = currentExchange, current === exchange else { return }
    guard answerIsSent, nextKeepsAlive else {
      intake = .deaf
      return
    }
    intake = .head
    if gateway.isStopping {
      closeOnceSent()
      return
    }
    expect(hasTakenAnswers ? .request : .takingAnswer)
    decoding.next(afterBodyOf: exchange.plan.bodyLength)
    takeWaiting()
  }

  /// Holds back a body that the instance doesn't take as fast as it comes.
  ///
  /// A client that leaves now is noticed at once all the same: the end of what it sends is told without reading. Not
  /// so where more is on its way than the kernel's buffers hold, for then that end comes behind it.
  func pauseBody(isForInstance: Bool) {
    guard case .body = intake else { return }
    setReading(false)
    expect(isForInstance ? .uploadProgress : nil)
  }

  func resumeBody() {
    guard case .body = intake, !isReading else { return }
    setReading(true)
    expect(.bodyProgress)
  }

  /// The client takes its answer again.
  func caughtUp() {
    switch intake {
    case .answering: expect(nil)
    case .body:
      if isReading {
        expect(bodyIsAwaited ? nil : .bodyProgress)
      } else if case .takingAnswer = expectation?.what {
        expect(nil)
      }
    case .head: expect(.request)
    case .rest, .deaf: break
    }
    currentExchange?.clientCaughtUp()
    takeWaiting()
  }

  func setReading(_ reading: Bool) {
    guard isReading != reading else { return }
    isReading = reading
    try? context?.channel.syncOptions?.setOption(.autoRead, value: reading)
  }

  // MARK: Time

  func expect(_ what: Expectation?) {
    guard let what else {
      expectation = nil
      return
    }
    let limits = gateway.limits
    let time =
      switch what {
      case .request: limits.idleTime
      case .headEnd: limits.headTime
      case .bodyProgress, .message: limits.bodyPause
      case .uploadProgress: limits.uploadStall
      case .takingAnswer: limits.clientStall
      case .closing: limits.lingerTime
      }
    expectation = (what, .now() + time)
  }

  /// Called now and then.
  func checkTime(_ now: NIODeadline) {
    guard let expectation, expectation.until <= now else { return }
    self.expectation = nil
    switch expectation.what {
    case .headEnd, .bodyProgress: fail(.slowRequest.spoken(decoding.dialect))
    case .uploadProgress: currentExchange?.uploadStalled()
    case .message: socket?.messageIsLate()
    case .request, .takingAnswer, .closing: close()
    }
  }

  /// Closes the connection if it has no request; what is left of the last answer still goes out.
  func closeIfIdle() {
    if case .head = intake, waiting.isEmpty { closeOnceSent() }
  }

  /// Closes the connection at once; an exchange under way ends as cancelled.
  func close() {
    socket?.close(.poolStops)
    socket?.abort()
    context?.close(promise: nil)
  }

  /// Takes nothing more for a request.
  func turnDeaf() {
    intake = .deaf
    dropWaiting()
    waitingFault = nil
    setReading(true)
  }
}
