import Chat
import DequeModule
import Gateway
import Glibc
import NIOCore
import OllamaAPI
import OrderedCollections
import PoolConfiguration
import PoolCore
import QueueStore

/// Links the core's decisions to the world: owns the core's state, tells it what happened, carries out what it decides.
///
/// Everything happens on one event loop, so every event finds a settled state. What brings about actions gets into
/// the core through `apply` alone. The parts:
/// - here: applying events, the actions and the timers;
/// - `DispatcherShell+Requests`: the gateway's exchanges;
/// - `DispatcherShell+Instances`: probes, loads and the lists of what is loaded;
/// - `DispatcherShell+Models`: where models are computed;
/// - `DispatcherShell+Reloads`: loads that clients' options cost;
/// - `DispatcherShell+Control`: what the control socket asks;
/// - `DispatcherShell+Queue`: what the queue looks like from outside;
/// - `DispatcherShell+Places`: who hears where a request stands;
/// - `DispatcherShell+Keys`: API keys, made and revoked there;
/// - `DispatcherShell+Usage`: what users have used, over a restart;
/// - `DispatcherShell+History`: what is recorded of requests, for replays;
/// - `DispatcherShell+Chat`: what the chat asks;
/// - `DispatcherShell+Metrics`: what the metrics say.
final class DispatcherShell {
  let loop: any EventLoop
  /// One life of the dispatcher; its counters begin anew with it.
  let epoch = String(UInt64.random(in: .min ... .max), radix: 16)
  let startedAt = Instant.now
  let startedAtSecondsSince1970: Double
  private(set) var core: Dispatch
  var journal: DispatcherJournal
  var metrics = DispatcherMetrics()
  let store: QueueStore
  var access: AccessControl
  var usage: UsageKeeping
  var history = HistoryKeeping()
  /// There as soon as what was stored has been read.
  var chat: Chat?
  /// While the pool stops: what the next dispatcher answers where this one does not. Such a request is not lost.
  var kept: Set<RequestID> = []
  var status: ServiceStatus?

  /// The gateway's exchanges that the core knows of, or has just ended.
  var carried: [RequestID: Carried] = [:]
  /// By instance of the wanted set; kept while reports of a deregistered one may be on their way.
  var facts: [InstanceID: InstanceFacts] = [:]
  var addresses: [InstanceID: SocketAddress] = [:]
  var loads: [InstanceID: ModelLoad] = [:]
  /// Loads that the options of requests cost, by model and client, the latest last.
  var reloads: Deque<ReloadTally> = []
  /// Clients that wait for the process list that is being asked for.
  var processListClients: [Exchange] = []
  var modelPlaces = ModelPlaces()
  var control = ControlState()
  var places = PlaceWatch()

  private var pending = CircularBuffer<DispatchAction>()
  private var isCarryingOut = false
  private var tickTimer: Timer?
  private(set) var isClosed = false
  private let drained: EventLoopPromise<Void>

  private struct Timer {
    var due: Instant
    var task: Scheduled<Void>
  }

  /// On `loop`.
  init(
    loop: any EventLoop, limits: DispatchLimits, modelRules: ModelRules = ModelRules(),
    access: AccessControl = AccessControl(Settings()), store: QueueStore, journal: DispatcherJournal
  ) {
    self.loop = loop
    self.access = access
    self.store = store
    self.journal = journal
    usage = UsageKeeping(at: .now, .now)
    core = Dispatch(limits: limits.preloading(by: modelRules))
    drained = loop.makePromise()
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    startedAtSecondsSince1970 = Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    scheduleTick()
  }

  // MARK: Applying events

  /// Tells the core what happened, and carries out what it decides. An event that comes while actions are being carried
  /// out is applied at once; its actions follow those that are still to be carried out.
  func apply(_ event: (inout Dispatch, Instant) -> [DispatchAction]) {
    pending.append(contentsOf: event(&core, .now))
    carryOutPending()
  }

  /// Where a request stands and how long it still waits; nil where it does not wait for a slot.
  func estimate(for id: RequestID) -> WaitingEstimate? { core.estimate(for: id, at: .now) }

  func estimates(for ids: [RequestID]) -> [RequestID: WaitingEstimate] { core.estimates(for: ids, at: .now) }

  /// The same for one of this user's that would come now.
  func estimateForNext(of share: DispatchRequest.Share) -> WaitingEstimate { core.estimateForNext(of: share, at: .now) }

  func estimates() -> [(id: RequestID, estimate: WaitingEstimate)] { core.estimates(at: .now) }

  private func carryOutPending() {
    guard !isCarryingOut else { return }
    isCarryingOut = true
    while let action = pending.popFirst() { carryOut(action) }
    isCarryingOut = false
    guard !isClosed else { return }
    scheduleTick()
    schedulePush()
    placesChanged()
  }

  private func carryOut(_ action: DispatchAction) {
    switch action {
    case .start(let id, let instance): start(id, on: instance)
    case .withdraw(let id): withdraw(id)
    case .end(let id, let outcome, let retryAfter): end(id, outcome, retryAfter: retryAfter)
    case .lifted(let id, let priority): chat?.moved(id, toPriority: priority)
    case .probe(let id, let invocation): probe(id, invocation)
    case .load(let id, let invocation, let model): load(model, on: id, invocation)
    case .askLoaded(let id, let invocation): askLoaded(id, invocation)
    case .report(let report): tell(report)
    }
  }

  private func tell(_ report: DispatchReport) {
    switch report {
    case .instanceReady(let id, let time):
      let instance = core.instances[id]
      metrics.instanceBecameReady(
        id, after: time, firstAnswerAfter: instance?.firstAnswerAfter, loads: instance?.loads ?? [])
      listModels()
    case .drained: drained.succeed()
    case .modelReloaded(let request, let id, let model, let before, let after):
      return modelReloaded(ModelReload(model: model, instance: id, from: before, to: after, at: .now), by: request)
    default: break
    }
    tell(.decided(report, report.instance.flatMap { currentFacts(of: $0) }))
  }

  func tell(_ event: DispatcherEvent) { journal.tell(event, at: .now) }

  private func currentFacts(of id: InstanceID) -> InstanceFacts? {
    guard var facts = facts[id] else { return nil }
    facts.maxConcurrent = core.maxConcurrent
    return facts
  }

  /// An observation has been pushed, with the peak.
  func startNewPeak() { core.startNewPeak() }

  func restoreUsage(_ kept: [UsageLedger.Entry]) { core.restoreUsage(kept, at: .now) }
  func takeUsageChanges() -> [UsageLedger.Entry] { core.takeUsageChanges() }
  var usageEntries: [UsageLedger.Entry] { core.usage.entries }

  // MARK: Time

  private func scheduleTick() {
    let now = Instant.now
    var due = core.nextTick(at: now)
    if let deadline = core.drainDeadline, !core.requests.isEmpty { due = min(due, max(now, deadline)) }
    if let tickTimer, tickTimer.due <= due { return }
    tickTimer?.task.cancel()
    let task = loop.assumeIsolated().scheduleTask(in: .nanoseconds((due - now).nanoseconds)) { [self] in tick() }
    tickTimer = Timer(due: due, task: task)
  }

  private func tick() {
    tickTimer = nil
    let carried = carried
    apply { core, now in
      core.tick(at: now) { id in
        carried[id].map {
          RequestProgress(
            movedAt: Instant($0.exchange.lastProgress), questionTokens: $0.exchange.questionTokens,
            answerTokens: $0.exchange.answerTokens)
        }
      }
    }
    journal.tick(at: .now)
    beat()
    status?.update(statusText, at: .now)
  }

  private var statusText: String {
    let healthy = core.instances.values.count { $0.health == .healthy }
    return "\(core.drainDeadline == nil ? "" : "Stopping: ")\(healthy) of \(core.instances.count) instances healthy; "
      + "\(core.inFlight) requests running, \(core.depth) waiting"
  }

  // MARK: Life

  func adopt(_ settings: Settings, modelRules: ModelRules) {
    let before = access
    access.adopt(settings)
    history.limits = settings.history.limits
    chat?.adopt(settings.chat, sources: settings.sources)
    let limits = settings.dispatchLimits
    let shares = carried.compactMapValues { carried in
      carried.exchange.caller.map { share(of: carried.exchange.id, $0, before) }
    }
    apply { core, now in
      core.limits = limits.preloading(by: modelRules)
      return core.reclassify({ shares[$0] }, at: now)
    }
  }

  /// What the caller of a request is entitled to now. The request keeps a priority of its own, such as a question may
  /// ask for, as long as the class keeps its.
  private func share(of id: RequestID, _ caller: Caller, _ before: AccessControl) -> DispatchRequest.Share {
    var share = access.renewed(caller).share
    if share.priority == before.renewed(caller).share.priority {
      share.priority = core.requests[id]?.request.share.priority ?? share.priority
    }
    return share
  }

  /// Refuses what waits, or leaves it for the next dispatcher, and lets what runs end by itself until `deadline`.
  ///
  /// - Returns: completes when no request is left.
  func drain(until deadline: Instant) -> EventLoopFuture<Void> {
    let kept = chat?.stop() ?? []
    self.kept.formUnion(kept)
    apply { core, now in core.drain(until: deadline, keeping: kept, at: now) }
    return drained.futureResult
  }

  /// The end of all timers. What the gateway still tells is applied, and nothing more comes of it.
  func close() {
    isClosed = true
    chat?.close()
    usage.task?.cancel()
    tickTimer?.task.cancel()
    control.pushTimer?.task.cancel()
    for load in loads.values { load.request.cancel() }
    journal.finish()
    drained.succeed()
  }
}

extension DispatchLimits {
  /// Models under `preload` with the tags that instances list, and what is settled for requests to them: else the first
  /// request would have one loaded once more.
  fileprivate func preloading(by rules: ModelRules) -> DispatchLimits {
    var limits = self
    limits.preload = preload.map { ModelName($0)?.description ?? $0 }
    for model in limits.preload { limits.preloadOptions[model] = rules[model].granted(RunnerOptions()) }
    return limits
  }
}

extension DispatchReport {
  /// The instance that it is about.
  fileprivate var instance: InstanceID? {
    switch self {
    case .instanceRegistered(let id), .instanceAnswered(let id, _), .instanceReady(let id, _),
      .instanceUnhealthy(let id, _, _, _), .instanceRecovered(let id), .instanceDeregistered(let id, _, _),
      .requestPutBack(_, let id, _), .modelReloaded(_, let id, _, _, _), .preloadEvicted(let id, _),
      .preloadFailed(let id, _, _), .preloadPartlyOnGPU(let id, _):
      id
    case .drainBegan, .drained: nil
    }
  }
}
