import DequeModule
package import NIOCore
package import NIOHTTP1
package import OllamaAPI
package import PoolCore

/// One request of a client and its answer. Lives on the gateway's event loop.
///
/// The delegate's verbs do nothing where they come too late, so a decision that crosses with the client's leaving does
/// no harm. The parts:
/// - here: what the delegate sees and says, and the stages;
/// - `Exchange+Request`: the request's body, and sending it to an instance;
/// - `Exchange+Answer`: passing the answer on;
/// - `Exchange+Stream`: answers of the pool's own that take their time;
/// - `Exchange+Early`: what is said before an instance's answer.
package final class Exchange {
  // What each piece of an answer goes by comes first: thousands that wait are told something each second, and most of
  // that time goes for memory which no cache holds.
  let gateway: Gateway
  var stage = Stage.receiving
  /// nil once the exchange has ended.
  private(set) var client: (any ExchangeClient)?

  /// In the order of arrival.
  package internal(set) var id = RequestID(0)
  package var route: Route { plan.route }
  package var dialect: Dialect { plan.route.dialect }
  /// As the client wrote it; nil where none could be read.
  package internal(set) var model: String?
  package internal(set) var wantsStream = false
  /// What its model has to be loaded with.
  @Shared package internal(set) var options: RunnerOptions
  package let peerAddress: SocketAddress?
  /// nil where the route asks for nobody.
  package var caller: Caller? { sharedCaller?.wrappedValue }
  /// The same, to be handed on.
  package let sharedCaller: Shared<Caller>?
  /// See ``QuestionTokens``.
  var estimatedQuestionTokens = 0
  /// Bytes of the request's body so far.
  package internal(set) var bodyBytes = 0

  /// The status of the answer that went to the client; nil before.
  package internal(set) var answerStatus: Int?
  /// When something last passed between the instance and the client; as long as the client holds it back, now.
  package var lastProgress: NIODeadline { isClientSlow ? .now() : progressedAt }
  /// Whether the instance is being held back because the client doesn't take what came.
  package var isClientSlow: Bool { upstream?.isPaused ?? false }
  /// Whether the head of an answer went to the client.
  package var hasBegun: Bool { answerStatus != nil }
  /// Whether the request could be sent again: not once a part of a streamed body has gone out.
  package var isReplayable: Bool { !hasSentStreamedBody }
  /// What went wrong in the last attempt, for the journal.
  package internal(set) var lastProblem: String?
  /// The pool's own error that the client got.
  var error: Shared<PoolError>?

  enum Stage {
    /// Its body is being read, and the delegate doesn't know of it. → parked, ended
    case receiving
    /// The delegate has it, no instance does. → preparing, attempting, streaming, ended
    case parked
    /// An instance has a slot for it, and its body is being made. → parked, attempting, ended
    case preparing(Preparation)
    /// An instance has it and hasn't answered. → parked, answering, ended
    case attempting(UpstreamConnection)
    /// The head of the instance's answer went to the client. → ended; parked where the client can take it back
    case answering(UpstreamConnection)
    /// An answer of the pool's own goes out piece by piece. → ended
    case streaming(OwnStream)
    /// Its connection is a WebSocket. → ended
    case upgraded
    case ended
  }

  /// One making of a body; another one may follow.
  final class Preparation {}

  private(set) var head: HTTPRequestHead
  let plan: RequestPlan
  var progressedAt: NIODeadline

  // The request's body; see `Exchange+Request`.
  var body = ByteBuffer()
  /// Its part of what the gateway holds.
  private(set) var heldBytes = 0
  var streamedParts: Deque<ByteBuffer> = []
  var streamedBytes = 0
  var bodyIsWhole = false
  var hasSentStreamedBody = false
  var hasSentRequest = false

  // The answer; see `Exchange+Answer`.
  var answer: AnswerRelay?
  /// What the pool has begun before there is one; see `Exchange+Early`.
  var early: OwnStream?

  init(
    _ gateway: Gateway, client: any ExchangeClient, peer: SocketAddress?, caller: Shared<Caller>?,
    head: HTTPRequestHead, plan: RequestPlan
  ) {
    self.gateway = gateway
    self.client = client
    self.head = head
    self.plan = plan
    peerAddress = peer
    sharedCaller = caller
    _options = RunnerOptions().shared
    progressedAt = .now()
    bodyIsWhole = !plan.hasBody
    hold(plan.headBytes)
  }

  /// What nobody asks for any more is not kept while the answer takes its time.
  func forgetHeaders() { head.headers = HTTPHeaders() }

  /// - Parameter bytes: negative for those that are held no longer.
  func hold(_ bytes: Int) {
    heldBytes += bytes
    gateway.heldBytes += bytes
  }

  private var upstream: UpstreamConnection? {
    switch stage {
    case .attempting(let upstream), .answering(let upstream): upstream
    case .receiving, .parked, .preparing, .streaming, .upgraded, .ended: nil
    }
  }

  /// Whether it waits, or its answer takes its time.
  var mayTakeLong: Bool {
    switch stage {
    case .parked, .streaming: !plan.stopsDecoder
    case .receiving, .preparing, .attempting, .answering, .upgraded, .ended: false
    }
  }

  package var isOpen: Bool {
    if case .ended = stage { false } else { true }
  }
  /// Whether its request would still be admitted: what it shows may have been revoked since.
  package var isStillAdmitted: Bool {
    guard case .admitted(let now) = gateway.delegate.gatewayAdmits(head, route, from: peer) else { return false }
    // Whoever comes in without the key that was revoked is somebody else.
    return now?.proof == caller?.proof && now?.user == caller?.user && now?.role == caller?.role
  }
  package var peer: RequestPeer { plan.peer(at: peerAddress) }
  package var headers: HTTPHeaders { head.headers }
  /// A header of the request; of several, the first.
  package func header(_ name: String) -> String? { head.headers.first(name: name) }
  /// What the path has in place of the route's variable segment.
  package var pathVariable: String? { route.variable(in: plan.target) }
  /// The body of a request that was read whole, until its answer begins.
  package var content: ByteBuffer { body }

  var isHTTP10: Bool { head.version == .http1_0 }

  // MARK: What the delegate says

  /// Sends the request to the instance at `address` and relays its answer.
  package func relay(to address: SocketAddress) {
    guard case .parked = stage else { return }
    progressedAt = .now()
    if let source = client?.bodySource, route.body != .none { return prepare(source, for: address) }
    // Only what can be sent again may go over a connection that the instance may just have closed.
    attempt(gateway.upstreams.connection(to: address, reused: !isStreamed))
  }

  private func prepare(_ source: any AnswerReader, for address: SocketAddress) {
    let preparation = Preparation()
    stage = .preparing(preparation)
    source.requestBody(at: address) { [self] body in
      guard case .preparing(let current) = stage, current === preparation else { return }
      stage = .parked
      progressedAt = .now()
      do {
        try takeWhole(body.get())
        attempt(gateway.upstreams.connection(to: address, reused: true))
      } catch let error as PoolError {
        refuse(error)
      } catch {
        refuse((error as? RequestFault)?.error ?? .instanceFailed("\(error)"))
      }
    }
  }

  /// Ends the exchange with an error of the pool's own and closes its connection to the instance. A stream that has
  /// begun ends with the error in its dialect; any other answer breaks off.
  ///
  /// - Parameter headers: go with an error that is the whole answer.
  package func refuse(_ error: PoolError, headers: [(name: String, value: String)] = []) {
    switch stage {
    case .receiving, .streaming, .upgraded, .ended: return
    case .answering(let upstream):
      upstream.abandon()
      breakOff(with: error)
      end(.failed(.refused(code: error.code)))
    case .parked, .preparing, .attempting:
      upstream?.abandon()
      send(error, headers: headers)
      end(.failed(.refused(code: error.code)))
    }
  }

  /// Drops an attempt: the exchange is parked again.
  ///
  /// - Returns: false if there is none, the client has a part of the answer and can't give it back, or the request
  ///   can't be sent again; then nothing changed.
  @discardableResult
  package func withdraw() -> Bool {
    switch stage {
    case .preparing: break
    case .attempting(let upstream) where isReplayable: upstream.abandon()
    case .answering(let upstream) where client?.startOver() == true:
      upstream.abandon()
      answer = nil
      answerStatus = nil
    case .receiving, .parked, .attempting, .answering, .streaming, .upgraded, .ended: return false
    }
    stage = .parked
    return true
  }

  /// Gives an answer of the pool's own.
  package func respond(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {
    switch stage {
    case .receiving, .answering, .streaming, .upgraded, .ended: return
    case .parked, .preparing, .attempting:
      upstream?.abandon()
      sendWhole(status: status, headers: headers, body: body)
      end(.served)
    }
  }

  // MARK: The stages

  /// The request is there as far as the delegate needs it.
  package func arrive() {
    guard case .receiving = stage else { return }
    park()
    gateway.delegate.exchangeArrived(self)
  }

  /// The delegate has it without being told: it was accepted by an earlier dispatcher.
  package func park() {
    guard case .receiving = stage else { return }
    stage = .parked
    id = gateway.nextRequestID()
  }

  /// Nobody wants the answer any more.
  package func leave() { clientLeft() }

  private func attempt(_ upstream: UpstreamConnection) {
    stage = .attempting(upstream)
    hasSentRequest = false
    upstream.carry(self)
  }

  /// The answer's head goes to the client now.
  func begin(_ upstream: UpstreamConnection) {
    stage = .answering(upstream)
    // A streamed body may still be on its way.
    if !isStreamed { releaseBody() }
  }

  /// A connection that had been kept was closed by the instance just as the request went out: that is nobody's
  /// failure, and the request goes out again on a new one.
  func retry(to address: SocketAddress) {
    guard case .attempting = stage else { return }
    attempt(gateway.upstreams.connection(to: address, reused: false))
  }

  /// The attempt failed, and there is no answer that could be passed on.
  func attemptFailed(_ failure: AttemptFailure, problem: String) {
    guard case .attempting = stage else { return }
    lastProblem = problem
    stage = .parked
    let verdict = gateway.delegate.exchangeAttemptFailed(self, failure)
    guard case .parked = stage else { return }
    switch verdict {
    case .wait where isReplayable: break
    case .wait, .passOn: giveUp()
    case .fail(let error): refuse(error)
    }
  }

  /// There was no connection to be had, for a reason that lies in this process or its machine: no attempt at all. It is
  /// made again in a while. Meanwhile the slot stays taken: the next in the queue would fare no better.
  func connectionLacked(problem: String) {
    guard case .attempting(let lacking) = stage else { return }
    lastProblem = problem
    progressedAt = .now()
    gateway.delegate.gatewayLacksConnection(problem: problem)
    gateway.loop.assumeIsolated().scheduleTask(in: gateway.limits.connectionPause) { [self] in
      guard case .attempting(let upstream) = stage, upstream === lacking else { return }
      retry(to: lacking.address)
    }
  }

  /// An instance answered with a status of 500 or above: asks the delegate.
  ///
  /// - Returns: whether the answer is to be passed on.
  func shouldPassOn(status: Int, from upstream: UpstreamConnection) -> Bool {
    lastProblem = "it answered with status \(status)"
    stage = .parked
    let verdict = gateway.delegate.exchangeAttemptFailed(self, .status(status))
    guard case .parked = stage else { return false }
    switch verdict {
    case .wait where isReplayable: return false
    case .wait, .passOn:
      stage = .attempting(upstream)
      return true
    case .fail(let error):
      refuse(error)
      return false
    }
  }

  private func giveUp() {
    send(.instanceFailed(lastProblem), headers: [])
    end(.failed(.instanceLost))
  }

  /// The client closed its connection, or takes nothing any more.
  func clientLeft() {
    upstream?.abandon()
    end(.cancelled)
  }

  /// The instance takes nothing more of a streamed body.
  func uploadStalled() {
    lastProblem =
      "it took no more of the request's body for \(gateway.limits.uploadStall.nanoseconds / 1_000_000_000) s"
    switch stage {
    case .attempting(let upstream):
      upstream.abandon()
      giveUp()
    case .answering(let upstream):
      let debt = upstream.debt
      upstream.abandon()
      answerLost(problem: lastProblem ?? "", owed: debt)
    case .receiving, .parked, .preparing, .streaming, .upgraded, .ended: break
    }
  }

  /// The client's streamed body broke HTTP's rules, stopped coming, or found no room.
  func requestBodyFailed(_ fault: RequestFault) {
    if case .ended = stage { return }
    upstream?.abandon()
    if hasBegun { client?.closeOnceSent() } else { send(fault.error, headers: fault.headers) }
    end(.failed(.requestBody(fault.refusal)))
  }

  /// The one place where an exchange ends.
  func end(_ outcome: ExchangeOutcome) {
    let hasArrived: Bool
    switch stage {
    case .ended: return
    case .receiving: hasArrived = false
    case .parked, .preparing, .attempting, .answering, .streaming, .upgraded: hasArrived = true
    }
    stage = .ended
    releaseBody()
    hold(-heldBytes)
    let client = client
    self.client = nil
    // The delegate first: a slot that is free now is worth more than this client's next request.
    if hasArrived { gateway.delegate.exchangeEnded(self, outcome) }
    client?.exchangeEnded(self, outcome)
  }
}
