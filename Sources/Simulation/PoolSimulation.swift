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
  var units: [InstanceID: Unit] = [:]
  var attempts: [RequestID: Attempt] = [:]
  var requests: [RequestID: SimulatedRequest] = [:]
  /// Connections that wait in the socket while the dispatcher is down.
  var waitingInSocket: [RequestID] = []
  var invocations = 0
  var attemptsMade = 0
  var specification = 0
  var pacing = PushPacing()
  /// When the last message over each wire arrives.
  var lastArrival: [Wire: Instant] = [:]
  /// When the dispatcher's one timer fires.
  var tickDue: Instant?
  var invariants = Invariants()

  /// What happened to a request, as its client saw it.
  package enum RequestResult: Hashable, Sendable {
    case ended(RequestOutcome, firstLease: Duration?, at: Instant)
    /// The dispatcher died with it.
    case connectionLost
  }

  package struct Statistics: Hashable, Sendable {
    package var starts = 0
    package var stops = 0
    package var highestMaxConcurrent = 0
    package var steps = 0
  }

  struct Unit: Hashable, Sendable {
    var invocation: InvocationID
    var specification: String
    /// Answers probes from then on; nil for never.
    var answersFrom: Instant?
    /// A graceful stop is on its way.
    var isStopping = false
    /// When its streams stopped moving; nil while they move.
    var stalledAt: Instant?
    var startedAt: Instant
  }

  enum Wire: Hashable, Sendable {
    case supervisorToDispatcher, dispatcherToSupervisor, supervisorToSystemd, systemdToSupervisor
  }

  struct Attempt: Hashable, Sendable {
    var instance: InstanceID
    var invocation: InvocationID
    var number: Int
    var hasBegun = false
  }

  enum Event: Sendable {
    case arrives(RequestID)
    case clientLeaves(RequestID)
    case firstByte(RequestID, attempt: Int)
    case answered(RequestID, attempt: Int)
    case attemptFails(RequestID, attempt: Int, AttemptFailure)
    case instanceDies(InstanceID, InvocationID)
    case probeEnds(InstanceID, InvocationID, life: Int)
    case loadEnds(InstanceID, InvocationID, model: String, life: Int)
    case dispatcherTicks(life: Int)
    case pushDue(life: Int)
    case observation(QueueObservation, life: UInt64)
    case setInstances([WantedInstance], from: UInt64, to: Int)
    case retire(InstanceID, InvocationID, from: UInt64, to: Int)
    case retireAnswer(InstanceID, InvocationID, Dispatch.RetireAnswer, life: UInt64)
    case unitStarts(InstanceID, specification: String, life: UInt64)
    case unitStops(InstanceID, InvocationID, kill: Bool)
    case unitEnded(InstanceID, InvocationID, reason: String)
    case supervisorTicks(life: UInt64)
    case dispatcherRestarts
    case dispatcherReturns
    case supervisorRestarts
    case supervisorReturns
    case specificationChanges
    case operatorOrders
  }

  /// - Parameter workload: in any order of arrival.
  package init(settings: SimulationSettings, workload: [SimulatedRequest], seed: UInt64) {
    self.settings = settings
    random = SeededGenerator(seed: seed)
    for (number, request) in workload.sorted(by: { $0.arrival < $1.arrival }).enumerated() {
      let id = RequestID(UInt64(number + 1))
      requests[id] = request
      events.schedule(.arrives(id), at: request.arrival)
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

  /// Misfortunes stop, cordons end, and what is left may come to rest.
  package mutating func calm() {
    isCalm = true
    for id in placements.map(\.id.name) { apply(operator: { $0.uncordon(id, at: $1) }) }
  }
  var isCalm = false

  package var runningUnits: [InstanceID] { units.keys.sorted() }
  package var maxConcurrent: Int { dispatch?.maxConcurrent ?? 0 }
  package var fleetTarget: Int { fleet?.decision.target ?? 0 }
}
