package import PoolCore

/// The whole pool in virtual time: the very `Dispatch` and `Fleet` that production runs, with a model of systemd, of
/// the instances, of the clients and of the wires between them.
///
/// After each step the invariants are checked (`Invariants`). The same seed gives the same history.
package struct PoolSimulation: Sendable {
  package let settings: SimulationSettings
  package internal(set) var now = Instant.zero
  package internal(set) var results: [RequestID: RequestResult] = [:]
  package internal(set) var statistics = Statistics()

  var random: SeededGenerator
  var events = EventQueue<Event>()
  /// nil while the daemon is down.
  var dispatch: Dispatch?
  var fleet: Fleet?
  /// One more with each life of a daemon; what was sent to an earlier life is lost.
  var dispatcherLife = 0
  var supervisorLife: UInt64 = 0
  var isConnected = false
  /// One more with each connection of the two. What the supervisor has sent over one that broke still arrives, what the
  /// dispatcher has sent does not.
  var session: UInt64 = 0
  /// The supervisor is about to end in order.
  var isLeaving = false
  var units: [InstanceID: Unit] = [:]
  /// By their number.
  var gpus: [GPU] = []
  /// Those that are lost for good when all else has come to rest.
  var deadGPUs: Set<Int> = []
  /// What the supervisor that lives was told last, by UUID.
  var toldGPUs: [String: ToldGPU] = [:]
  /// When it was told of the last end of a unit on each GPU.
  var toldLeft: [String: Instant] = [:]
  var supervisorSince = Instant.zero
  var attempts: [RequestID: Attempt] = [:]
  var requests: [RequestID: SimulatedRequest] = [:]
  /// Since when each that waits has waited, this time; the time that its client was away is left out.
  var waitingSince: [RequestID: Instant] = [:]
  /// How long each that is suspended had waited.
  var waited: [RequestID: Duration] = [:]
  /// Durable requests of a dispatcher that died.
  var kept: Set<RequestID> = []
  /// What the dispatcher has on its disk of what users used.
  var keptUsage: [UserID: [Int: UsageLedger.Entry]] = [:]
  /// What users used, by a model of its own.
  var accounts = Accounts()
  /// What this dispatcher can know to be in a unit's memory, or to have been there.
  var shown: [InvocationID: Set<String>] = [:]
  /// Models that it has ordered to be loaded and that aren't yet.
  var loads: [InvocationID: String] = [:]
  /// Requests that some instance was given.
  var attempted: Set<RequestID> = []
  /// What the dispatcher's core decided, and its shell has still to carry out.
  var pending: [DispatchAction] = []
  var isCarryingOut = false
  /// Connections that wait in the socket while the dispatcher is down.
  var waitingInSocket: [RequestID] = []
  var invocations = 0
  var attemptsMade = 0
  var specification = 0
  /// Whether drivers tell what instances are pinned with.
  var arePinsCertain = true
  /// One placement has the first two GPUs, in place of one on each.
  var hasBigPlacement = false
  var stored = Stored()
  var operators = Operators()
  /// Lives that were ended although they served.
  var cut: Set<InvocationID> = []
  var pacing = PushPacing()
  /// When the last message over each wire arrives.
  var lastArrival: [Wire: Instant] = [:]
  /// What a reader of this life of the supervisor's has still to read; nil while none is out.
  var reader: (models: [String], life: UInt64)?
  /// When the dispatcher's one timer fires.
  var tickDue: Instant?
  var invariants = Invariants()

  /// What happened to a request, as its client saw it.
  package enum RequestResult: Hashable, Sendable {
    case ended(RequestOutcome, at: Instant)
    /// The dispatcher died with it.
    case connectionLost
  }

  package struct Statistics: Hashable, Sendable {
    package var starts = 0
    /// Starts that came through when nobody waited for them any more.
    package var lateStarts = 0
    package var stops = 0
    package var highestMaxConcurrent = 0
    package var steps = 0
  }

  struct Unit: Hashable, Sendable {
    var invocation: InvocationID
    /// Answers probes from then on; nil for never.
    var answersFrom: Instant?
    /// What it was started with.
    var placement: Placement
    var startedAt: Instant
    /// nil where the supervisor that ordered it had died, or believed that it had failed.
    var startedBy: UInt64?
    var isStopping = false
    /// When its streams stopped moving; nil while they move.
    var stalledAt: Instant?
    /// Whether it answers most inference with an error, for which it is too small, say.
    var errs = false
    var memory = ModelMemory()
    /// Inference that it failed since it last began to answer any.
    var failures: [Failure] = []
    /// Whether its models are on the CPU.
    var isDegraded = false
    var hasNetwork = false
    /// Whether the last order about that failed.
    var hasNetworkTrouble = false
    /// When a supervisor first heard that its GPU has failed.
    var gpuFailedAt: Instant?
    /// When its GPUs were last well again as the supervisor knows, such as by an operator's word.
    var gpuWellAt: Instant?
    var isOnLostGPU = false

    struct Failure: Hashable, Sendable {
      var request: RequestID
      var at: Instant
    }
  }

  enum Wire: Hashable, Sendable {
    case supervisorToDispatcher, dispatcherToSupervisor, supervisorToSystemd, systemdToSupervisor
  }

  struct Attempt: Hashable, Sendable {
    var instance: InstanceID
    var invocation: InvocationID
    var number: Int
    /// Whether the request was nowhere before.
    var isFirst: Bool
    var since: Instant
    var begunAt: Instant?
    var hasBegun: Bool { begunAt != nil }
  }

  enum Event: Sendable {
    case arrives(RequestID)
    case clientLeaves(RequestID)
    /// It may come back.
    case clientGoes(RequestID)
    case clientReturns(RequestID)
    case firstByte(RequestID, attempt: Int)
    case answered(RequestID, attempt: Int)
    case attemptFails(RequestID, attempt: Int, AttemptFailure)
    case instanceDies(InstanceID, InvocationID)
    case probeEnds(InstanceID, InvocationID, life: Int)
    case loadEnds(InstanceID, InvocationID, model: String, life: Int)
    /// - Parameter list: nil for what is there by then.
    case listEnds(InstanceID, InvocationID, list: [LoadedModel]?, life: Int)
    case listStalls(InstanceID, InvocationID, life: Int)
    case dispatcherTicks(life: Int)
    case pushDue(life: Int)
    case observation(QueueObservation, session: UInt64)
    case gpusAreRead(life: UInt64)
    case gpuChanges
    case gpuRecovers(Int, change: Int)
    case setInstances(WantedSet, session: UInt64, to: Int)
    case retire(InstanceID, InvocationID, session: UInt64, to: Int)
    case retireAnswer(InstanceID, InvocationID, Dispatch.RetireAnswer, session: UInt64)
    case unitStarts(Placement, UnitStart)
    case unitStops(InstanceID, InvocationID, Stop)
    case unitStopped(InstanceID, InvocationID)
    case unitEnded(InstanceID, InvocationID, reason: String)
    case networkOrderFailed(InstanceID, InvocationID, open: Bool, life: UInt64)
    case supervisorTicks(life: UInt64)
    case readerTells(life: UInt64)
    case hangs
    case linkBreaks
    case linkReturns
    case dispatcherRestarts
    case dispatcherReturns
    case supervisorRestarts
    case supervisorLeaves(life: UInt64)
    case supervisorReturns
    case specificationChanges
    case operatorOrders
    case orderChanges
    case priorityChanges
  }

  /// An order to start a unit.
  struct UnitStart: Hashable, Sendable {
    var orderedAt: Instant
    /// The life of the supervisor that ordered it; nil once that believes that it has failed.
    var by: UInt64?
  }

  /// How a unit is asked to end.
  enum Stop: Sendable {
    /// Nothing is left of what it serves.
    case empty
    /// A deadline has passed, or the whole pool stops: what it serves is cut.
    case forced
    case kill
  }

  /// What the supervisor has on its disk.
  struct Stored: Hashable, Sendable {
    var cordons: [String: Cordon] = [:]
    var bounds: Scaler.Override?
    var orders: [InstanceID: OperatorOrder] = [:]
    var faults: [String: GPUFault] = [:]
  }

  /// - Parameter workload: in any order of arrival.
  package init(settings: SimulationSettings, workload: [SimulatedRequest], seed: UInt64) {
    self.settings = settings
    random = SeededGenerator(seed: seed)
    gpus = Array(repeating: GPU(), count: settings.gpus)
    deadGPUs = settings.deadGPUs
    for (number, request) in workload.sorted(by: { $0.arrival < $1.arrival }).enumerated() {
      let id = RequestID(UInt64(number + 1))
      requests[id] = request
      events.schedule(.arrives(id), at: request.arrival)
      if let absence = request.absence {
        events.schedule(.clientGoes(id), at: request.arrival + absence.after)
        events.schedule(.clientReturns(id), at: request.arrival + absence.after + absence.time)
      }
      if let patience = request.patience { events.schedule(.clientLeaves(id), at: request.arrival + patience) }
    }
    startDispatcher()
    startSupervisor()
    scheduleMisfortunes()
  }

  /// Runs until `end`, or until nothing is left to happen.
  ///
  /// - Throws: the first violation of an invariant.
  package mutating func run(until end: Instant) throws(InvariantViolation) {
    while let time = events.nextTime, time <= end { try step() }
    now = max(now, end)
  }

  /// Carries out the next event.
  package mutating func step() throws(InvariantViolation) {
    guard let (time, event) = events.next() else { return }
    now = time
    statistics.steps += 1
    handle(event)
    statistics.highestMaxConcurrent = max(statistics.highestMaxConcurrent, dispatch?.maxConcurrent ?? 0)
    try invariants.check(self, after: event)
  }

  /// Misfortunes stop, operators take their orders back, and what is left may come to rest.
  package mutating func calm() {
    isCalm = true
    hasBigPlacement = false
    arePinsCertain = true
    calmGPUs()
    stored = Stored()
    if fleet == nil { operators = Operators() }
    apply { [placements] in $0.placementsChanged(placements, at: $1) }
    apply { $0.setScale(minimum: nil, maximum: nil, until: nil, at: $1) }
    for placement in placements {
      order { (fleet, now) throws(OrderRefusal) in
        try fleet.uncordon(placement.id.name, at: now)
      } remember: { operators, _ in
        operators.uncordoned(placement)
      }
    }
  }

  /// The whole pool stops.
  package mutating func stopAll() {
    isStopping = true
    apply { $0.stopAll(at: $1) }
  }

  var isCalm = false
  var isStopping = false

  package var runningUnits: [InstanceID] { units.keys.sorted() }
  package var maxConcurrent: Int { dispatch?.maxConcurrent ?? 0 }
  /// Those that were started with what is no longer configured.
  package var staleUnits: [InstanceID] {
    units.filter { !isAsWanted($0.value) }.keys.sorted()
  }

  private func isAsWanted(_ unit: Unit) -> Bool {
    let specification = runningUnit(unit).specification
    return placements.contains { wanted in
      var known = unit.placement
      known.specification = wanted.specification
      return known == wanted && specification.hasPrefix(wanted.specification)
    }
  }
  /// Those that have a way out to the network and don't write the model store, and the one that writes it without.
  package var strayNetworks: [InstanceID] {
    guard settings.fleetLimits.networkIsForWriterOnly, let fleet else { return [] }
    return units.filter { $0.value.hasNetwork != ($0.key == fleet.storeWriter) }.keys.sorted()
  }
  /// Those that compute on the CPU although they have a GPU, which is seen once they hold a model.
  package var degradedUnits: [InstanceID] {
    settings.readsGPUs ? units.filter { $0.value.isDegraded && !$0.value.memory.models.isEmpty }.keys.sorted() : []
  }
  /// Operators' orders to instances that are not carried out yet, and could be.
  package var standingOrders: [InstanceID] {
    let dead = placements.filter { $0.gpus.contains { deadGPUs.contains(Self.index(of: $0)) } }.map(\.id)
    return (fleet?.orders.keys.sorted() ?? []).filter { !dead.contains($0) }
  }
}
