package import OrderedCollections

/// The dispatcher's decisions: who is served where and when, and which instances are fit to serve.
///
/// A value without I/O. The shell applies one event at a time and carries out the actions that it returns; each event
/// carries the time. The invariants that hold after every event are checked in `Simulation`.
///
/// One central queue with late binding: nobody is tied to an instance before a slot is free, and among instances with
/// a free slot one of those with the fewest leases serves next (join-the-shortest-queue over the dispatcher's own
/// counts; a count that is only polled misleads), if possible one that has the model in memory. The parts:
/// - here: the way of a request, from arrival to end;
/// - `Dispatch+Choice`: who serves what next;
/// - `Dispatch+Instances`: the wanted set and `RetireInstance`;
/// - `Dispatch+Probes`: probes, and the models that are loaded first;
/// - `Dispatch+Loaded`: what instances hold in memory, and models that are loaded again;
/// - `Dispatch+Limits`: what has gone on for too long;
/// - `Dispatch+Health`: what speaks against an instance, and what follows from it;
/// - `Dispatch+Suspension`: requests whose clients are away, and other changes from outside;
/// - `Dispatch+Users`: what users may ask, have open, and used;
/// - `Dispatch+Observation`: what the supervisor and the operators see.
package struct Dispatch: Sendable {
  package var limits: DispatchLimits { didSet { obeyLimits() } }

  /// Every request that has arrived and not ended.
  package internal(set) var requests: [RequestID: Record] = [:]
  package internal(set) var index = RequestIndex()
  /// Those that need a slot, in the order of arrival.
  package internal(set) var queue = WaitingLine()
  /// The same, in the order of service.
  package internal(set) var order = ServiceOrder()
  /// Those that need no slot and wait only for some healthy instance.
  var callers = WaitingLine()
  /// Those that change the model store, and wait for the instance through which that goes.
  var writers = WaitingLine()
  /// Those that leave the machine, and wait for the instance that can.
  var leavers = WaitingLine()
  /// The registered instances in the supervisor's order, oldest first.
  package internal(set) var instances: OrderedDictionary<InstanceID, DispatchedInstance> = [:]
  /// The only models that the pool serves, by their normalised names; nil for any.
  package internal(set) var servedModels: Set<String>?
  /// Why the model store must not be changed; nil where it may be.
  package internal(set) var storeRefusal: String?
  /// Models that are not to be loaded under `preload` for now, and the control session that says so.
  var awaitingTurn: (models: Set<String>, session: UInt64) = ([], 0)

  /// Of inference that was served.
  package internal(set) var serviceTimes = ServiceTimes()
  /// What became of what was foreseen.
  package internal(set) var calibrations = Calibrations()
  /// From an instance's registration to its slots.
  var coldStarts = ColdStarts()
  /// What an instance that will be started is believed to have.
  var usualSlots = 1
  package internal(set) var totals = Totals()
  /// Waiting and running inference by model, for the supervisor's view; entries at zero are removed, since clients
  /// make the names up.
  package internal(set) var demand: [String: Demand] = [:]
  /// Those whose client is away.
  package internal(set) var suspendedCount = 0
  /// By user, those first that have been suspended for longest; entries without any are removed.
  package internal(set) var suspendedByUser: [UserID: [RequestID]] = [:]
  /// By user, of inference; entries at zero are removed.
  package internal(set) var openByUser: [UserID: OpenRequests] = [:]
  /// What each user used in the last hour.
  package internal(set) var usage = UsageLedger()
  /// The most that waited or ran at once since the last push: a burst between two pushes is not missed.
  var peakDemand = 0
  /// One more with each change that a watcher would see.
  package internal(set) var revision = 0
  /// Once the pool stops: when the last streams are cut.
  package internal(set) var drainDeadline: Instant?
  var hasReportedDrained = false

  package init(limits: DispatchLimits = DispatchLimits()) {
    self.limits = limits
    obeyLimits()
  }

  private mutating func obeyLimits() {
    (order.isFair, order.aging) = (limits.isFair, limits.aging)
    serviceTimes.assumed = limits.assumedService
  }

  package struct Record: Hashable, Sendable {
    package var request: DispatchRequest
    package var arrivedAt: Instant
    package var phase: RequestPhase
    /// What its answer began with; nil where it has not.
    package internal(set) var answerStatus: Int?
    /// Of its answer so far, as far as the shell has told.
    package internal(set) var answerTokens = 0
    /// What it was told when it came; nil where it did not wait, was told a guess, or has had a slot since.
    var promise: Calibrations.Promise?
    /// The minute in which its user's usage counts it; nil where it does not.
    var countedIn: Int?
    /// Where its failed attempts were; it goes elsewhere as long as there is an elsewhere.
    package internal(set) var failedOn: [InstanceID] = []
    /// Of these, those that were answered with an error.
    var erred: [FailedAttempt] = []
  }

  package struct Demand: Hashable, Sendable {
    package var waiting = 0
    package var inFlight = 0
  }

  /// Counters since this dispatcher began.
  package struct Totals: Hashable, Sendable {
    package var arrivals = 0
    package var completions = 0
    package var putBack = 0
  }

  // MARK: The way of a request

  /// A request has arrived whole; it is served at once, waits, or is refused.
  package mutating func arrive(_ request: DispatchRequest, at now: Instant) -> [DispatchAction] {
    guard requests[request.id] == nil else { return [] }
    totals.arrivals += 1
    let record = Record(request: request, arrivedAt: now, phase: .waiting(since: now))
    if let refusal = refusal(of: record, at: now) { return refuse(request.id, refusal.failure, refusal.retryAfter) }
    enter(record, at: now)
    use(request, at: now)
    // Whoever waits already finds no slot that is free, so that this one is the only one to look at.
    if request.need == .slot, let place = leastBusy(for: record) {
      let start = assign(request.id, to: place, at: now)
      peakDemand = max(peakDemand, slotDemand)
      return [start]
    }
    let actions = assignFreeSlots(at: now)
    // A guess says nothing of how good estimates are.
    if request.need == .slot, let estimate = estimate(for: request.id, at: now), !estimate.isGuess {
      requests[request.id]?.promise = Calibrations.Promise(estimate)
    }
    return actions
  }

  /// Whether a request would be accepted if it arrived now. Nothing is counted.
  package func accepts(_ request: DispatchRequest, at now: Instant) -> Bool {
    refusal(of: Record(request: request, arrivedAt: now, phase: .waiting(since: now)), at: now) == nil
  }

  private func refusal(of record: Record, at now: Instant) -> Refusal? {
    let request = record.request
    guard drainDeadline == nil else { return Refusal(.shuttingDown) }
    guard request.need != .slot || !isUnserved(request.model) else { return Refusal(.modelNotServed) }
    guard request.need != .storeReference || storeRefusal == nil else { return Refusal(.storeRefused) }
    if let refusal = refusalByUser(of: record, at: now) { return refusal }
    let hasPlace = depth < limits.waitingRequests || needsNoPlace(record)
    return hasPlace ? nil : Refusal(.queueFull)
  }

  /// A request of an earlier life of this dispatcher, which was accepted then: no limit forbids it now. Those come in
  /// the order of their numbers, and keep it.
  ///
  /// - Parameter isSuspended: whether its client is not there yet.
  package mutating func restore(
    _ request: DispatchRequest, isSuspended: Bool, at now: Instant
  ) -> [DispatchAction] {
    guard requests[request.id] == nil else { return [] }
    totals.arrivals += 1
    guard drainDeadline == nil else { return refuse(request.id, .shuttingDown) }
    enter(
      Record(request: request, arrivedAt: now, phase: isSuspended ? .suspended(waited: .zero) : .waiting(since: now)),
      at: now)
    return isSuspended ? [] : refuseUnserved(at: now) + assignFreeSlots(at: now)
  }

  private mutating func enter(_ record: Record, at now: Instant) {
    let request = record.request
    requests[request.id] = record
    index.insert(request.id, of: request.share.user)
    revision += 1
    line(of: request) { $0.append(request.id) }
    if case .suspended = record.phase {
      line(of: request) { $0.callUp(request.id) }
      noteSuspended(request)
      if request.need == .slot { order.append(request, at: now, isSuspended: true) }
    } else {
      count(request, waiting: 1)
      if request.need == .slot { order.append(request, at: now) }
    }
  }

  /// The first byte of the answer, which has this status, went to the client.
  package mutating func begin(_ id: RequestID, status: Int, at now: Instant) -> [DispatchAction] {
    guard let record = requests[id], case .assigned(let instance, let invocation, let since, nil) = record.phase else {
      return []
    }
    requests[id]?.phase = .assigned(instance, invocation, since: since, begun: now)
    requests[id]?.answerStatus = status
    guard record.request.need == .slot else { return [] }
    if let place = instances.index(forKey: instance) { instances.values[place].unbegun.remove(id) }
    if status < 500 { answered(instance, at: now) }
    let isLoaded = status < 400 && instances[instance]?.wanted.invocation == invocation
    // Its load is over, whatever came of it.
    return (isLoaded ? showedLoaded(record.request, on: instance, at: now) : []) + assignFreeSlots(at: now)
  }

  /// An attempt failed before any byte of the answer had gone to the client.
  ///
  /// - Returns: what becomes of the request, and the actions that follow. With `.passOn` the request keeps its slot
  ///   until the shell says that it ended.
  package mutating func attemptFailed(
    _ id: RequestID, _ failure: AttemptFailure, at now: Instant
  ) -> (verdict: AttemptVerdict, actions: [DispatchAction]) {
    guard let record = requests[id], case .assigned(let instance, let invocation, let since, nil) = record.phase else {
      return (.wait, [])
    }
    let elsewhere = instances.values.contains {
      $0.wanted.id != instance && canServe(record, $0) && !record.failedOn.contains($0.wanted.id)
    }
    let exhausted = record.failedOn.count >= limits.attemptsPutBack
    if case .status = failure, exhausted || !elsewhere { return (.passOn, []) }

    var actions: [DispatchAction] = []
    var verdict = AttemptVerdict.wait
    if exhausted {
      verdict = .fail(.attemptsExhausted)
      forget(id, .failed(.attemptsExhausted), at: now)
    } else {
      putBack(id, at: now)
      actions.append(.report(.requestPutBack(id, from: instance, failure)))
    }
    let attempt = FailedAttempt(instance: instance, invocation: invocation, since: since, failedAt: now)
    switch failure {
    case .status, .broken: requests[id]?.erred.append(attempt)
    case .refused: actions += becameUnhealthy(instance, .refusing, at: now)
    }
    return (verdict, actions + assignFreeSlots(at: now))
  }

  /// The exchange is over: the shell tells how. Of a request that has ended already this does nothing.
  ///
  /// - Parameters:
  ///   - questionTokens: where more is known than when it arrived.
  ///   - tokens: of its answer, about, whatever became of that.
  package mutating func end(
    _ id: RequestID, _ outcome: RequestOutcome, questionTokens: Int = 0, tokens: Int = 0, at now: Instant
  ) -> [DispatchAction] {
    progressed(id, questionTokens: questionTokens, answerTokens: tokens, at: now)
    guard let record = requests[id] else { return [] }
    // What was refused for its model's name or the like says nothing of how long a service takes.
    if outcome == .served, record.request.need == .slot, record.answerStatus.map({ $0 < 400 }) ?? true,
      case .assigned(_, _, let since, _) = record.phase
    {
      order.learn(outputTokens: record.answerTokens)
      serviceTimes.add(now - since, isCrowded: !queue.isEmpty)
    }
    forget(id, outcome, at: now)
    // What was served in the end speaks against those that had failed it.
    let erred = outcome == .served && record.request.need == .slot ? record.erred : []
    return erred.flatMap { self.erred($0, at: now) } + assignFreeSlots(at: now) + reportIfDrained()
  }

  /// An operator or its user cancels a request, waiting, running or suspended.
  ///
  /// - Parameter tokens: of its answer so far, about.
  /// - Returns: nil if there is no such request.
  package mutating func cancel(_ id: RequestID, tokens: Int = 0, at now: Instant) -> [DispatchAction]? {
    guard requests[id] != nil else { return nil }
    progressed(id, answerTokens: tokens, at: now)
    forget(id, .cancelled, at: now)
    return [.end(id, .cancelled)] + assignFreeSlots(at: now) + reportIfDrained()
  }

  /// The pool stops: what waits is refused, what runs may end by itself until `deadline`. While it stops already, an
  /// earlier deadline takes the place of the present one.
  ///
  /// - Parameter kept: those that somebody else has written down for the next start. They end here as the others do.
  package mutating func drain(
    until deadline: Instant, keeping kept: Set<RequestID> = [], at now: Instant
  ) -> [DispatchAction] {
    if let present = drainDeadline {
      drainDeadline = min(present, deadline)
      return requests.isEmpty ? [] : expire(at: now) + reportIfDrained()
    }
    drainDeadline = deadline
    revision += 1
    let refused = [queue, callers, writers, leavers].flatMap(\.waiting) + suspendedByUser.values.joined().sorted()
    for id in refused { forget(id, .failed(.shuttingDown), at: now) }
    let keptCount = refused.count(where: kept.contains)
    let report = DispatchReport.drainBegan(
      running: requests.count, refused: refused.count - keptCount, kept: keptCount)
    return refused.map { .end($0, .failed(.shuttingDown)) } + [.report(report)] + reportIfDrained()
  }

  /// What waits to change the model store, or was put back since, can't be served where that must not be changed any
  /// more. What an instance has already goes on.
  mutating func refuseWaitingWriters(at now: Instant) -> [DispatchAction] {
    guard storeRefusal != nil else { return [] }
    let waiting = writers.waiting
    for id in waiting { forget(id, .failed(.storeRefused), at: now) }
    return waiting.map { .end($0, .failed(.storeRefused)) }
  }

  // MARK: Leases, acquired and released in one place each

  /// Gives every free slot to the first in the queue that may use it.
  mutating func assignFreeSlots(at now: Instant) -> [DispatchAction] {
    var actions: [DispatchAction] = []
    while let (id, instance) = nextReference() { actions.append(assign(id, to: instance, at: now)) }
    while let (id, instance) = nextLease(at: now) { actions.append(assign(id, to: instance, at: now)) }
    peakDemand = max(peakDemand, slotDemand)
    return actions
  }

  private mutating func assign(_ id: RequestID, to instance: InstanceID, at now: Instant) -> DispatchAction {
    guard var record = requests[id], let place = instances.index(forKey: instance) else {
      preconditionFailure("a lease of what is not there")
    }
    let invocation = instances.values[place].wanted.invocation
    record.phase = .assigned(instance, invocation, since: now, begun: nil)
    if let promise = record.promise.take() {
      calibrations.learn(promise, wait: now - record.arrivedAt, of: record.request)
    }
    requests[id] = record
    line(of: record.request) { $0.callUp(id) }
    order.callUp(id)
    revision += 1
    if record.request.need == .slot {
      instances.values[place].leases.insert(id)
      instances.values[place].unbegun.insert(id)
    } else {
      instances.values[place].references.insert(id)
    }
    count(record.request, waiting: -1, running: 1)
    return .start(id, on: instance)
  }

  /// Takes the slot back, wherever the request stands.
  mutating func release(_ id: RequestID, at now: Instant) {
    guard let record = requests[id], case .assigned(let instance, let invocation, _, _) = record.phase else { return }
    count(record.request, running: -1)
    guard let place = instances.index(forKey: instance), instances.values[place].wanted.invocation == invocation else {
      return
    }
    instances.values[place].leases.remove(id)
    instances.values[place].unbegun.remove(id)
    instances.values[place].references.remove(id)
    if instances.values[place].isIdle { instances.values[place].idleSince = now }
  }

  mutating func putBack(_ id: RequestID, at now: Instant) {
    guard case .assigned(let instance, _, _, _) = requests[id]?.phase, let request = requests[id]?.request else {
      return
    }
    release(id, at: now)
    requests[id]?.failedOn.append(instance)
    requests[id]?.phase = .waiting(since: now)
    count(request, waiting: 1)
    line(of: request) { $0.putBack(id) }
    order.putBack(id, at: now)
    totals.putBack += 1
    revision += 1
  }

  mutating func forget(_ id: RequestID, _ outcome: RequestOutcome, at now: Instant) {
    guard let record = requests[id] else { return }
    switch record.phase {
    case .waiting: count(record.request, waiting: -1)
    case .suspended: noteSuspendedNoMore(record.request)
    case .assigned: release(id, at: now)
    }
    line(of: record.request) { $0.remove(id) }
    order.remove(id, taken(by: record, outcome))
    giveBack(record, outcome)
    index.remove(id, of: record.request.share.user)
    requests[id] = nil
    totals.completions += 1
    revision += 1
  }

  /// Takes an instance's requests away: begun streams end with an error; the others wait again, or fail when they have
  /// been put back too often.
  ///
  /// - Parameter finishing: leaves what has begun, and what changes the model store: its body can't be sent again.
  mutating func evict(
    _ instance: InstanceID, finishing: Bool = false, at now: Instant
  ) -> (actions: [DispatchAction], cut: Int, putBack: Int) {
    guard let record = instances[instance] else { return ([], 0, 0) }
    var actions: [DispatchAction] = []
    var cut = 0
    var back = 0
    for id in record.requests.sorted() {
      guard let request = requests[id], case .assigned(_, _, _, let begun) = request.phase else { continue }
      if finishing, begun != nil || request.request.need == .storeReference { continue }
      if begun != nil || request.failedOn.count >= limits.attemptsPutBack {
        let failure: RequestFailure = begun != nil ? .instanceLost : .attemptsExhausted
        forget(id, .failed(failure), at: now)
        actions.append(.end(id, .failed(failure)))
        cut += 1
      } else {
        putBack(id, at: now)
        actions.append(.withdraw(id))
        back += 1
      }
    }
    return (actions, cut, back)
  }

  mutating func reportIfDrained() -> [DispatchAction] {
    guard drainDeadline != nil, requests.isEmpty, !hasReportedDrained else { return [] }
    hasReportedDrained = true
    return [.report(.drained)]
  }

  // MARK: Helpers

  private mutating func refuse(
    _ id: RequestID, _ failure: RequestFailure, _ retryAfter: Duration? = nil
  ) -> [DispatchAction] {
    totals.completions += 1
    return [.end(id, .failed(failure), retryAfter: retryAfter)]
  }

  mutating func line(of request: DispatchRequest, _ change: (inout WaitingLine) -> Void) {
    switch request.need {
    case .slot: change(&queue)
    case .reference: change(&callers)
    case .storeReference: change(&writers)
    case .networkReference, .remoteInference: change(&leavers)
    }
  }
}
