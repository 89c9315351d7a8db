import OrderedCollections
import PoolCore

/// A supervisor's core with placements, and a record of what it ordered.
struct FleetUnderTest {
  var fleet: Fleet
  var now = Instant.zero
  var starts: [String] = []
  var stops: [String] = []
  var kills: [String] = []
  var retirements: [String] = []
  /// What was said to the dispatcher, in turn: `set`, `retire gpu0`.
  var said: [String] = []
  var told: [WantedInstance] = []
  var storeRefusal: String?
  var servedModels: Set<String>?
  var reports: [FleetReport] = []
  /// What readers were sent for, one after the other.
  var readers: [[String]] = []
  var awaitingTurn: Set<String> = []
  private var specification = "old"
  private var gpus: Int
  private var lives = 0

  init(
    gpus: Int, minimum: Int, window: Duration? = nil, idleHold: Duration = .seconds(5), begins: Bool = true,
    startsWaitForDrain: Bool = false
  ) {
    self.gpus = gpus
    fleet = Fleet(
      scaling: ScalingSettings(
        minimum: minimum, smoothing: .zero, window: window, shrink: 1, idleHold: idleHold, zeroHold: .zero),
      startsWaitForDrain: startsWaitForDrain)
    configure(gpus: gpus)
    if begins { begin(found: []) }
  }

  mutating func configure(gpus: Int, areAll: Bool = true) {
    self.gpus = gpus
    configure((0..<gpus).map { placement(InstanceID("gpu\($0)"), on: "GPU-\($0)") }, areAll: areAll)
  }

  mutating func configure(_ placements: [Placement], areAll: Bool = true) {
    perform(fleet.placementsChanged(placements, areAll: areAll, at: now))
  }

  func placement(_ id: InstanceID, on gpus: String..., isShared: Bool = false) -> Placement {
    Placement(id: id, gpus: gpus, isShared: isShared, specification: specification)
  }

  mutating func change(specification: String) {
    self.specification = specification
    configure(gpus: gpus)
  }

  mutating func begin(found: [String], ending: [String] = []) {
    let units = Dictionary(uniqueKeysWithValues: found.map { (InstanceID($0), unit($0)) })
    let leaving = Dictionary(uniqueKeysWithValues: ending.map { (InstanceID($0), unit($0)) })
    perform(fleet.began(found: units, ending: leaving, at: now))
  }

  /// The next supervisor, with what the one before had on its disk.
  func successor(gpus: Int, minimum: Int, begins: Bool = true) -> FleetUnderTest {
    var next = FleetUnderTest(gpus: gpus, minimum: minimum, begins: false)
    next.now = now
    next.lives = lives
    next.fleet.restore(cordons: fleet.cordons, orders: fleet.orders)
    if begins { next.begin(found: []) }
    return next
  }

  private mutating func unit(_ id: String) -> RunningInstance.Unit {
    lives += 1
    return RunningInstance.Unit(
      invocation: InvocationID("\(id)-\(lives)"), mainPID: Int32(lives), address: "127.0.0.1:1",
      specification: specification)
  }

  mutating func startBegins(_ id: InstanceID) { perform(fleet.startBegins(id, at: now)) }

  mutating func runs(_ id: String, with specification: String? = nil) {
    var unit = unit(id)
    unit.specification = specification ?? unit.specification
    perform(fleet.unitStarted(InstanceID(id), unit, at: now))
  }

  mutating func fails(_ id: String, _ reason: String) {
    perform(fleet.startFailed(InstanceID(id), reason: reason, at: now))
  }

  mutating func dies(_ id: String) {
    switch fleet.placements[InstanceID(id)]?.life {
    case .running(let instance):
      perform(fleet.unitEnded(InstanceID(id), instance.unit.invocation, reason: "killed by SIGKILL", at: now))
    case .stopping(let instance, _):
      perform(fleet.unitEnded(InstanceID(id), instance.unit.invocation, reason: "stopped", at: now))
    default: break
    }
  }

  mutating func lose() { perform(fleet.dispatcherLost(at: now)) }

  mutating func connect() { perform(fleet.dispatcherConnected(at: now)) }

  mutating func advance(_ duration: Duration) {
    now = now + duration
    perform(fleet.tick(at: now))
  }

  /// - Parameter idle: for how long each healthy instance has been empty; nil for a busy one.
  mutating func observe(demand: Int, idle: KeyValuePairs<String, Duration?> = [:], isDraining: Bool = false) {
    var observation = QueueObservation()
    observation.inFlight = demand
    observation.peakDemand = demand
    observation.isDraining = isDraining
    observation.instances = idle.compactMap { id, idle in
      fleet.placements[InstanceID(id)]?.running.map {
        InstanceObservation(
          id: InstanceID(id), invocation: $0.unit.invocation, health: .healthy, leases: idle == nil ? 1 : 0, idle: idle)
      }
    }
    perform(fleet.observed(observation, at: now))
  }

  /// Each of these has something that needs no slot; the others have nothing.
  mutating func observe(references busy: [InstanceID], areWrites: Bool = true, ready others: [InstanceID] = []) {
    var observation = QueueObservation()
    observation.instances = (busy + others).compactMap { id in
      fleet.placements[id]?.running.map {
        InstanceObservation(
          id: id, invocation: $0.unit.invocation, health: .healthy, references: busy.contains(id) ? 1 : 0,
          writes: busy.contains(id) && areWrites ? 1 : 0, idle: busy.contains(id) ? nil : .zero)
      }
    }
    perform(fleet.observed(observation, at: now))
  }

  /// So many requests wait for each of these models; the instances are ready and hold nothing.
  mutating func observe(waiting models: [String: Int], ready: [InstanceID] = []) {
    var observation = QueueObservation()
    observation.waitingByModel = models
    observation.depth = models.values.reduce(0, +)
    observation.peakDemand = observation.depth
    observation.instances = ready.compactMap { id in
      fleet.placements[id]?.running.map {
        InstanceObservation(id: id, invocation: $0.unit.invocation, health: .healthy, idle: .zero)
      }
    }
    perform(fleet.observed(observation, at: now))
  }

  /// The dispatcher waits for this one to be ready; it holds nothing.
  mutating func observe(starting id: String) {
    guard let instance = fleet.placements[InstanceID(id)]?.running else { return }
    var observation = QueueObservation()
    observation.instances = [
      InstanceObservation(id: InstanceID(id), invocation: instance.unit.invocation, health: .starting, idle: .zero)
    ]
    perform(fleet.observed(observation, at: now))
  }

  mutating func observe(unhealthy id: String, since: Duration) {
    guard let instance = fleet.placements[InstanceID(id)]?.running else { return }
    var observation = QueueObservation()
    observation.instances = [
      InstanceObservation(
        id: InstanceID(id), invocation: instance.unit.invocation,
        health: .unhealthy(reason: "3 probes in a row had no answer", isFinal: false, since: since))
    ]
    perform(fleet.observed(observation, at: now))
  }

  /// Only a new process is believed again; it still holds so many requests.
  mutating func observe(condemned id: String, leases: Int = 0, references: Int = 0) {
    guard let instance = fleet.placements[InstanceID(id)]?.running else { return }
    var observation = QueueObservation()
    observation.inFlight = leases
    observation.peakDemand = leases
    observation.instances = [
      InstanceObservation(
        id: InstanceID(id), invocation: instance.unit.invocation,
        health: .unhealthy(reason: "3 requests in a row failed here alone", isFinal: true, since: .zero),
        leases: leases, references: references, idle: leases + references == 0 ? .zero : nil)
    ]
    perform(fleet.observed(observation, at: now))
  }

  mutating func answer(_ id: String, _ answer: Dispatch.RetireAnswer) {
    guard let instance = fleet.placements[InstanceID(id)]?.running else { return }
    perform(fleet.retireAnswered(InstanceID(id), instance.unit.invocation, answer, at: now))
  }

  mutating func drain(_ id: InstanceID, deadline: Instant? = nil) throws {
    perform(try fleet.drain(id, deadline: deadline, at: now))
  }

  mutating func restart(_ id: InstanceID, deadline: Instant? = nil) throws {
    perform(try fleet.restart(id, deadline: deadline, at: now))
  }

  mutating func cordon(_ name: String) throws { perform(try fleet.cordon(name, reason: "hot", at: now)) }

  mutating func uncordon(_ name: String) throws { perform(try fleet.uncordon(name, at: now)) }

  var roles: [String: WantedInstance.Role] { Dictionary(uniqueKeysWithValues: told.map { ($0.id.name, $0.role) }) }
  var draining: [String] { told.filter { $0.role == .draining }.map(\.id.name) }

  mutating func perform(_ actions: [FleetAction]) {
    for action in actions {
      switch action {
      case .start(let id, _): starts.append(id.name)
      case .stop(let id, _, let kill):
        stops.append(id.name)
        if kill { kills.append(id.name) }
      case .setInstances(let set):
        told = set.instances
        servedModels = set.models
        storeRefusal = set.storeRefusal
        awaitingTurn = set.awaitingTurn
        said.append("set")
      case .retire(let id, _):
        retirements.append(id.name)
        said.append("retire \(id)")
      case .openNetwork(let id, _, let isOpen): said.append("\(isOpen ? "open" : "close") \(id)")
      case .readAhead(let models): readers.append(models)
      case .report(let report): reports.append(report)
      }
    }
  }
}
