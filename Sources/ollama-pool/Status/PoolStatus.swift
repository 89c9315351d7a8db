import ControlInterface

/// What both daemons know together: `status --json` in its own words, and what the text is made from.
struct PoolStatus: Encodable, Equatable, Sendable {
  /// How the pool is doing, in one word.
  enum Health: String, Encodable, Sendable {
    /// Serves, and nothing is wrong.
    case healthy
    /// Serves, with something to look at: an instance that fails, a problem, a daemon that is missing.
    case degraded
    /// Does not serve yet: instances are on their way.
    case starting
    /// Scaled to zero: the first request wakes it.
    case asleep
    /// Lets running requests end, and takes no more.
    case stopping
    /// Does not serve.
    case down
  }

  struct DaemonState: Encodable, Equatable, Sendable {
    var running: Bool
    var socket: String
    @OrNull var version: String?
    @OrNull var processID: Int32?
    @OrNull var runningSeconds: Double?
    /// Why it can't be asked.
    @OrNull var error: String?
    /// The same in its parts.
    var failure: CommandFailure?

    private enum CodingKeys: CodingKey { case running, socket, version, processID, runningSeconds, error }
  }

  struct Instance: Encodable, Equatable, Sendable {
    var id: String
    /// The supervisor's word; without it what the dispatcher knows.
    var state: String
    @OrNull var reason: String?
    /// UUIDs.
    var gpus: [String]
    /// The GPUs' numbers, for people, or `1.7` for a MIG slice; those that have none are absent.
    var gpuLabels: [String]
    @OrNull var url: String?
    @OrNull var unit: String?
    @OrNull var mainPID: Int32?
    var slots: Int
    /// Requests in its slots.
    var active: Int
    @OrNull var runningSeconds: Double?
    /// `starting`, `healthy` or `unhealthy`, as the dispatcher judges; null where it doesn't know the instance.
    @OrNull var health: String?
    @OrNull var failures: Int?
    @OrNull var retryInSeconds: Double?
    /// Why it has these GPUs, where the pool put several together.
    @OrNull var placement: String?
  }

  var health: Health
  @OrNull var maxConcurrent: Int?
  @OrNull var queueDepth: Int?
  @OrNull var oldestWaitSeconds: Double?
  @OrNull var inFlight: Int?
  /// What front ends with queues of their own have reported.
  @OrNull var outsideDepth: Int?
  @OrNull var frontEnds: [DispatcherTypes.FrontEnd]?
  @OrNull var desired: Int?
  @OrNull var desiredReason: String?
  @OrNull var minimum: Int?
  @OrNull var maximum: Int?
  /// Whether an operator's bounds hold instead of the configured ones, and for how long still; null: without end.
  @OrNull var isOverridden: Bool?
  @OrNull var overrideSecondsLeft: Double?
  /// What starts take, by placement and by model; null without a supervisor.
  @OrNull var startTimes: [SupervisorTypes.StartTimes]?
  /// Models that were read into memory ahead of an instance.
  @OrNull var readModels: [SupervisorTypes.ReadModel]?
  var endpoints: [String]
  @OrNull var metrics: String?
  @OrNull var ollama: String?
  @OrNull var launcher: String?
  /// Where the GPUs are known from.
  @OrNull var inventory: SupervisorTypes.Inventory?
  @OrNull var store: Store?
  /// The latest last; null where the dispatcher can't be asked.
  @OrNull var reloads: [Reloads]?
  var problems: [String]
  /// What hinders nothing, such as a GPU that no placement has.
  var remarks: [String]
  var instances: [Instance]
  var dispatcher: DaemonState
  var supervisor: DaemonState
}

extension PoolStatus {
  typealias Answer<Reply> = Result<Reply, CommandFailure>

  init(
    dispatcher: Answer<DispatcherCalls.GetStatusReply>, supervisor: Answer<SupervisorTypes.Status>,
    sockets: SocketFolder
  ) {
    let seen = try? dispatcher.get()
    let wanted = try? supervisor.get()
    let queue = seen?.queue
    health = .down
    maxConcurrent = queue?.maxConcurrent
    queueDepth = queue?.depth
    oldestWaitSeconds = queue?.oldestWaitSeconds
    inFlight = queue?.inFlight
    outsideDepth = queue.map { $0.frontEnds.reduce(0) { $0 &+ max(0, $1.depth) } }
    frontEnds = queue?.frontEnds
    desired = wanted?.desired
    desiredReason = wanted?.desiredReason
    minimum = wanted?.minimum
    maximum = wanted?.maximum
    isOverridden = wanted?.isOverridden
    overrideSecondsLeft = wanted?.overrideSecondsLeft
    startTimes = wanted.map { $0.startTimes ?? [] }
    readModels = wanted.map { $0.readModels ?? [] }
    endpoints = seen?.endpoints ?? []
    metrics = seen?.metrics
    ollama = wanted?.ollama
    launcher = wanted?.launcher
    inventory = wanted?.inventory
    store = wanted?.store.map(Store.init)
    reloads = seen?.reloads.map { $0.map(Reloads.init) }
    problems = wanted?.problems ?? []
    remarks = wanted?.remarks ?? []
    if let wanted, seen != nil, !wanted.dispatcherConnected {
      problems.append(
        "the supervisor has no connection to the dispatcher: nothing shrinks, and no more than the minimum is started")
    }
    instances = Self.merge(wanted, queue)
    self.dispatcher = DaemonState(dispatcher, sockets.dispatcher) { ($0.version, $0.processID, $0.startedSecondsAgo) }
    self.supervisor = DaemonState(supervisor, sockets.supervisor) { ($0.version, $0.processID, $0.startedSecondsAgo) }
    health = judge(isDraining: queue?.draining ?? false)
  }

  private func judge(isDraining: Bool) -> Health {
    let isServing = maxConcurrent.map { $0 > 0 } ?? instances.contains { $0.state == "ready" }
    let troubles: Set = ["unhealthy", "degraded", "backingOff", "quarantined"]
    if isDraining { return .stopping }
    if isServing {
      let isWell =
        dispatcher.running && supervisor.running && problems.isEmpty
        && !instances.contains { troubles.contains($0.state) }
      return isWell ? .healthy : .degraded
    }
    if !dispatcher.running { return .down }
    if instances.contains(where: { $0.state == "launching" || $0.state == "starting" }) { return .starting }
    let isHeldBack: Set = ["cordoned", "quarantined"]
    let mayWake = instances.contains { !isHeldBack.contains($0.state) }
    // Where some should run and none can, such as on GPUs that all have failed, no request wakes it either.
    return desired == 0 && minimum == 0 && problems.isEmpty && mayWake ? .asleep : .down
  }

  /// The supervisor's instances with what the dispatcher knows of them, then those that only the dispatcher knows.
  private static func merge(
    _ wanted: SupervisorTypes.Status?, _ queue: DispatcherTypes.Queue?
  ) -> [Instance] {
    var seen = Dictionary((queue?.instances ?? []).map { ($0.id, $0) }) { first, _ in first }
    let labels = Dictionary((wanted?.gpus ?? []).map { ($0.uuid, $0.label ?? "\($0.number)") }) { first, _ in first }
    var merged = (wanted?.instances ?? []).map { instance in
      Instance(instance, seen.removeValue(forKey: instance.id), labels)
    }
    merged += (queue?.instances ?? []).compactMap { seen.removeValue(forKey: $0.id).map(Instance.init) }
    return merged
  }
}

extension PoolStatus.DaemonState {
  init<Reply>(
    _ answer: PoolStatus.Answer<Reply>, _ socket: String,
    _ fields: (Reply) -> (version: String, processID: Int32, startedSecondsAgo: Double)
  ) {
    self.socket = socket
    switch answer {
    case .success(let reply):
      running = true
      (version, processID, runningSeconds) = fields(reply)
    case .failure(let failure):
      running = false
      error = failure.message
      self.failure = failure
    }
  }
}

extension PoolStatus.Instance {
  init(
    _ wanted: SupervisorTypes.Instance, _ seen: DispatcherTypes.InstanceState?, _ labels: [String: String]
  ) {
    id = wanted.id
    state = wanted.state.rawValue
    reason = wanted.reason.isEmpty ? seen?.healthReason : wanted.reason
    gpus = wanted.gpus
    gpuLabels = wanted.gpus.compactMap { labels[$0] }
    url = wanted.address.map { "http://\($0)" }
    unit = wanted.unit
    mainPID = wanted.mainPID
    slots = wanted.slots
    active = seen?.leases ?? wanted.leases
    runningSeconds = wanted.runningSeconds
    health = seen?.health.rawValue
    failures = wanted.failures
    retryInSeconds = wanted.retryInSeconds
    placement = wanted.placement
  }

  init(_ seen: DispatcherTypes.InstanceState) {
    id = seen.id
    switch seen.role {
    case .core, .surplus: state = seen.health == .healthy ? "ready" : seen.health.rawValue
    case .draining, .out: state = "draining"
    }
    reason = seen.healthReason
    gpus = seen.gpus
    gpuLabels = []
    url = "http://\(seen.address)"
    slots = seen.slots
    active = seen.leases
    health = seen.health.rawValue
  }
}
