import Chat
import Gateway
import NIOCore
import NIOHTTP1
import OllamaAPI
import PoolCore

/// A client's exchange while the core has it.
struct Carried {
  let exchange: Exchange
  let arrivedAt: Instant
  /// When it was last sent to an instance, and to which one.
  var sentAt: Instant?
  /// Until it was sent for the first time.
  var waited: Duration?
  let needsSlot: Bool
  /// How the core ended it; the exchange's own end follows.
  var decided: RequestOutcome?
  var instance: InstanceID?
}

extension DispatcherShell: GatewayDelegate {
  /// The longest name of a model that is taken for one, in bytes. Ollama's own bounds add up to less.
  private static let longestModelName = 640

  // MARK: What the gateway tells

  func publicHost(_ headers: HTTPHeaders, from peer: SocketAddress?) -> String? {
    access.publicHost(headers, from: peer)
  }

  func gatewayAdmits(_ head: HTTPRequestHead, _ route: Route, from peer: RequestPeer) -> Admission {
    guard route.audience != .anyone else { return .admitted(nil) }
    let keyID = chat?.keyID(of: head.headers, from: peer)
    guard let caller = access.identify(head, from: peer, sessionKeyID: keyID) else {
      return .refused(.unauthenticated, because: unauthenticated(head, from: peer))
    }
    guard route.audience != .administrators || caller.isAdministrator else {
      return .refused(
        .forbidden, because: "Models are pulled, made and deleted by administrators alone on this server.")
    }
    return .admitted(caller)
  }

  private func unauthenticated(_ head: HTTPRequestHead, from peer: RequestPeer) -> String {
    if access.showsUnknownKey(head.headers) {
      return "This API key is not known here, or no longer. Ask the operator of this server for another one."
    }
    if access.namesNobody(head.headers, from: peer.address) {
      return
        "The proxy before this server names no user who can be known by it: one name of at most 128 bytes of UTF-8 "
        + "in one header. Ask its operator."
    }
    return "This server wants an API key: 'Authorization: Bearer sk-pool-…'. Ask its operator for one."
  }

  func exchangeArrived(_ exchange: Exchange) {
    switch exchange.route.kind {
    case .root:
      exchange.respond(
        status: 200, headers: [("Content-Type", "text/plain; charset=utf-8")], body: Array("Ollama is running".utf8))
    case .processList: answerProcessList(exchange)
    case .inference: admit(exchange, need(of: exchange.model))
    case .metadata: admit(exchange, .reference)
    case .modelManagement: admit(exchange, .storeReference)
    case .account: admit(exchange, .networkReference)
    case .pool(.queue): answerQueue(exchange)
    case .pool(.place): answerPlace(exchange)
    case .pool(let endpoint): chat?.arrived(exchange, endpoint)
    }
  }

  private func admit(_ exchange: Exchange, _ need: DispatchRequest.Need) {
    let request = carry(exchange, need)
    apply { core, now in core.arrive(request, at: now) }
    if need == .slot { commentPlace(of: exchange) }
  }

  /// Before anything is written down for it. What is not refused has not arrived by this.
  func refuses(_ exchange: Exchange) -> Bool {
    let now = Instant.now
    let need = need(of: exchange.model)
    guard !core.accepts(request(of: exchange, need), at: now) else { return false }
    exchange.park()
    let request = carry(exchange, need)
    // At the very same time: what was said of it holds.
    apply { core, _ in core.arrive(request, at: now) }
    return true
  }

  /// A question that an earlier dispatcher had accepted.
  func restore(_ exchange: Exchange, isSuspended: Bool) {
    exchange.park()
    let request = carry(exchange, need(of: exchange.model))
    apply { core, now in core.restore(request, isSuspended: isSuspended, at: now) }
  }

  private func carry(_ exchange: Exchange, _ need: DispatchRequest.Need) -> DispatchRequest {
    carried[exchange.id] = Carried(exchange: exchange, arrivedAt: .now, needsSlot: need == .slot)
    return request(of: exchange, need)
  }

  private func request(of exchange: Exchange, _ need: DispatchRequest.Need) -> DispatchRequest {
    DispatchRequest(
      id: exchange.id, need: need, model: modelKey(of: exchange), options: exchange.options,
      streams: exchange.wantsStream, share: exchange.caller?.share ?? DispatchRequest.Share(),
      inputTokens: exchange.questionTokens)
  }

  func modelKey(of exchange: Exchange) -> String? {
    exchange.model.flatMap { $0.utf8.count <= Self.longestModelName ? ModelName.key(of: $0) : nil }
  }

  func exchangeReceivedFirstByte(_ exchange: Exchange) {
    uncomment(exchange.id)
    apply { core, now in core.begin(exchange.id, status: exchange.answerStatus ?? 200, at: now) }
  }

  func exchangeAttemptFailed(_ exchange: Exchange, _ failure: AttemptFailure) -> RelayVerdict {
    // The core would hand it on, and there is nothing that could be sent again.
    guard exchange.isReplayable else { return .passOn }
    var verdict = AttemptVerdict.wait
    apply { core, now in
      let (decided, actions) = core.attemptFailed(exchange.id, failure, at: now)
      verdict = decided
      return actions
    }
    switch verdict {
    case .wait: return .wait
    case .passOn: return .passOn
    case .fail(let failure):
      carried[exchange.id]?.decided = .failed(failure)
      return .fail(PoolError(failure))
    }
  }

  func answerFields(of exchange: Exchange) -> [(name: String, value: String)] {
    guard exchange.route.isLimited, let share = exchange.caller?.share, share.limits.hasHourly else { return [] }
    let standing = core.standing(of: share.user, share.limits, at: .now)
    return RateLimitFields.fields(requests: standing.requests, tokens: standing.tokens)
  }

  func exchangeCaughtUp(_ exchange: Exchange) { chat?.caughtUp(exchange) }

  func exchangeEnded(_ exchange: Exchange, _ outcome: ExchangeOutcome) {
    if exchange.route.kind == .modelManagement { modelsChanged() }
    guard let ended = carried.removeValue(forKey: exchange.id) else {
      chat?.ended(exchange)
      return
    }
    uncomment(exchange.id)
    let decided = ended.decided ?? RequestOutcome(outcome)
    if ended.decided == nil, case .failed(.requestBody(let refusal)) = outcome {
      // The same fault in a body that is read whole never gets as far as here.
      gatewayRefused(refusal, from: exchange.peerAddress)
    } else {
      count(ended, decided)
    }
    apply { core, now in
      core.end(
        exchange.id, decided, questionTokens: exchange.questionTokens, tokens: exchange.answerTokens, at: now)
    }
  }

  func gatewayRefused(_ refusal: GatewayRefusal, from peer: SocketAddress?) {
    metrics.gatewayRefused(refusal)
    if refusal.isForWantOfRoom { tellNoRoom(refusal, peer) }
  }

  /// Its request has been counted, or will be.
  func gatewayCutOff(_ peer: SocketAddress?) { tellNoRoom(.memoryFull, peer) }

  private func tellNoRoom(_ refusal: GatewayRefusal, _ peer: SocketAddress?) {
    tell(.noRoom(refusal, client: peer?.ipAddress ?? "an unknown address"))
  }

  func gatewayLacksConnection(problem: String) { tell(.connectionLacked(problem: problem)) }

  private func count(_ ended: Carried, _ outcome: RequestOutcome) {
    if outcome == .failed(.shuttingDown), kept.contains(ended.exchange.id) { return }
    metrics.requestEnded(outcome, wasSent: ended.sentAt != nil)
    record(ended, outcome)
    switch outcome {
    case .served:
      // What was refused for its model's name or the like took no service.
      guard ended.needsSlot, let sentAt = ended.sentAt, ended.exchange.answerStatus.map({ $0 < 400 }) == true else {
        break
      }
      metrics.served(within: .now - sentAt)
    case .cancelled: break
    case .expired, .failed: tell(.requestLost(requestFacts(ended), outcome))
    }
  }

  func requestFacts(_ carried: Carried) -> RequestFacts {
    let exchange = carried.exchange
    return RequestFacts(
      id: exchange.id, route: "\(exchange.route.method) \(exchange.route.pattern)", model: modelKey(of: exchange),
      user: exchange.caller.map { $0.name ?? $0.user.name }, instance: carried.instance,
      problem: exchange.lastProblem, hadBegun: exchange.hasBegun)
  }

  // MARK: What the core decides

  /// An action may be overtaken by an event that came while others were carried out; then the core's state says so.
  func start(_ id: RequestID, on instance: InstanceID) {
    guard let exchange = carried[id]?.exchange, let address = addresses[instance],
      case .assigned(instance, _, _, nil) = core.requests[id]?.phase
    else { return }
    let now = Instant.now
    if let first = carried[id], first.needsSlot, first.waited == nil {
      carried[id]?.waited = now - first.arrivedAt
      metrics.waited(now - first.arrivedAt)
    }
    carried[id]?.sentAt = now
    carried[id]?.instance = instance
    exchange.relay(to: address)
  }

  func withdraw(_ id: RequestID) {
    guard let exchange = carried[id]?.exchange, !exchange.withdraw() else { return }
    // A part of its body has gone for good, so it can't wait for another instance.
    if exchange.hasBegun || !exchange.isReplayable { exchange.refuse(PoolError(.instanceLost)) }
  }

  func end(_ id: RequestID, _ outcome: RequestOutcome, retryAfter: Duration?) {
    guard let exchange = carried[id]?.exchange, var error = PoolError(outcome, retryAfter: retryAfter) else { return }
    switch outcome {
    case .failed(.modelNotServed): error.message += " " + reservation
    case .failed(.storeRefused): error.message = core.storeRefusal ?? error.message
    default: break
    }
    carried[id]?.decided = outcome
    exchange.refuse(error)
  }

  var servedModels: [String] { (core.servedModels ?? []).sorted() }

  /// Models that an error names at most.
  private static let mostNamed = 20

  private var reservation: String {
    let models = servedModels
    let named = models.prefix(Self.mostNamed).joined(separator: ", ")
    let others = models.count > Self.mostNamed ? " and \(models.count - Self.mostNamed) more" : ""
    return "It is reserved for \(named)\(others)."
  }
}
