import ControlInterface
import GPUInventory
import Glibc
import Launching
import OrderedCollections
import PoolCore
import Systemd
import Varlink

/// The state, for whoever asks: operators, and systemd.
extension SupervisorDaemon {
  func status(_ inventory: Inventory) -> SupervisorTypes.Status {
    let now = MonotonicClock.now
    var status = SupervisorTypes.Status()
    status.version = options.version
    status.processID = getpid()
    status.startedSecondsAgo = (now - startedAt).seconds
    status.launcher = launcher.description
    status.ollama = plan.programDescription
    status.inventory = SupervisorTypes.Inventory(plan.inventory.source)
    status.problems = plan.problems
    status.remarks = plan.remarks
    status.driver = plan.inventory.driverVersion
    status.store = plan.store.map { SupervisorTypes.ModelStore($0, writer: fleet.storeWriter) }
    status.dispatcherConnected = link.isConnected
    status.desired = fleet.decision.target
    status.desiredReason = fleet.decision.reason.description
    let scale = fleet.scaler.override
    let bounds = fleet.scaler.bounds
    status.maximum = min(bounds.maximum, plan.placements.sites.count)
    status.minimum = min(bounds.minimum, status.maximum)
    status.isOverridden = scale != nil
    status.overrideSecondsLeft = scale?.until.map { ($0 - now).seconds }
    status.coldStartSeconds = fleet.scaler.coldStart.seconds
    status.startTimes = fleet.placements.compactMap { SupervisorTypes.StartTimes($1.history.startTimes, of: $0) }
    status.readModels = fleet.readAhead.outcomes.sorted { $0.key < $1.key }.map { SupervisorTypes.ReadModel($0.value) }
    status.instances = fleet.placements.values.map { record in
      var instance = SupervisorTypes.Instance(record, of: fleet, at: now)
      instance.placement = plan.placements.sites.first { $0.id == record.placement.id }?.reason
      if instance.invocation != nil, launcher is SystemdLauncher {
        instance.unit = InstanceUnit.name(record.placement.id)
      }
      return instance
    }
    status.gpus = gpus(inventory)
    return status
  }

  /// What the dispatcher's metrics say of the fleet.
  var fleetReport: DispatcherCalls.ReportFleet {
    let now = MonotonicClock.now
    let states = fleet.placements.values.map { SupervisorTypes.Instance($0, of: fleet, at: now).state }
    func count(_ state: SupervisorTypes.State) -> Int { states.count { $0 == state } }
    return DispatcherCalls.ReportFleet(
      desired: fleet.decision.target, backingOff: count(.backingOff), quarantined: count(.quarantined),
      cordoned: count(.cordoned), failedStarts: fleet.failedStarts, degraded: count(.degraded),
      degradations: fleet.degradations, gpus: reportedGPUs)
  }

  // MARK: Watchers

  func watch(_ call: VarlinkCall) async {
    let reply = SupervisorCalls.StatusReply(status: status(await inventory.latest()))
    guard call.wantsMore else { return call.reply(reply) }
    call.stream(reply)
    watchers.add(call)
  }

  /// Something that a status shows has changed.
  func watchersShouldKnow() {
    if let delay = watchers.changed(at: MonotonicClock.now) { workQueue.yield(.push(after: delay)) }
  }

  func pushToWatchers() async {
    let reading = await inventory.latest()
    let due = watchers.takeDue(at: MonotonicClock.now)
    guard !due.isEmpty else { return }
    let reply = SupervisorCalls.StatusReply(status: status(reading))
    for call in due { call.stream(reply) }
  }

  // MARK: systemd

  /// Each second.
  func notifyAlive() {
    if watchers.needHeartbeat(at: MonotonicClock.now) { workQueue.yield(.push(after: .zero)) }
    guard options.notifiesServiceManager else { return }
    if ServiceManager.watchdogInterval != nil { ServiceManager.notifyWatchdog() }
    let line = statusLine
    if line != lastNotifiedStatus {
      lastNotifiedStatus = line
      ServiceManager.notifyStatus(line)
    }
  }

  func notifyReady() {
    if options.notifiesServiceManager { ServiceManager.notifyReady(status: statusLine) }
  }

  private var statusLine: String {
    "\(fleet.ready) of \(plan.placements.sites.count) instances ready, \(fleet.decision.target) wanted"
      + (link.isConnected ? "" : "; no dispatcher")
  }
}

extension SupervisorTypes.Inventory {
  init(_ source: Inventory.Source) {
    self =
      switch source {
      case .drivers: .drivers
      case .configured: .configured
      case .cpu: .cpu
      }
  }
}

extension SupervisorTypes.Instance {
  init(_ record: Fleet.Record, of fleet: Fleet, at now: Instant) {
    let id = record.placement.id
    let cordon = fleet.cordon(on: record.placement)?.reason
    self.init(id: id.name, state: .absent)
    gpus = record.gpus
    slots = record.placement.slots
    failures = record.history.restarts.failures
    switch record.life {
    case .absent: describeAbsence(record.history.restarts, cordon, fleet.obstacle(against: id, at: now), at: now)
    case .launching(_, let since):
      state = .launching
      reason = "so for \((now - since).brief)"
    case .running(let instance):
      let notes = [cordon.map { "cordoned: \($0)" }, fleet.note(on: id, at: now)].compactMap(\.self)
      (state, reason) =
        fleet.drain(of: id).map { (Self.state(drainedBecause: $0.reason), $0.reason.description) }
        ?? Self.state(of: instance, notes, age: now - instance.launchedAt)
      invocation = instance.unit.invocation.text
      mainPID = instance.unit.mainPID
      address = instance.unit.address
      leases = instance.leases
      runningSeconds = (now - instance.launchedAt).seconds
    case .stopping(let ending, let because):
      state = .stopping
      reason = because.description
      invocation = ending.unit.invocation.text
    }
  }

  private mutating func describeAbsence(
    _ restarts: Restarts, _ cordon: String?, _ obstacle: StartObstacle?, at now: Instant
  ) {
    reason = obstacle?.description ?? restarts.lastFailure ?? ""
    if let cordon {
      state = .cordoned
      reason = cordon
    } else if case .quarantined = obstacle {
      state = .quarantined
    } else if !restarts.mayStart(at: now) {
      state = restarts.isQuarantined ? .quarantined : .backingOff
      reason = restarts.lastFailure ?? reason
      retryInSeconds = restarts.retryAt.map { ($0 - now).seconds }
    }
  }

  /// - Parameter notes: what is worth knowing of one that goes on.
  private static func state(
    of instance: Shared<RunningInstance>, _ notes: [String], age: Duration
  ) -> (SupervisorTypes.State, String) {
    switch instance.standing {
    case .starting: (.starting, (["so for \(age.brief)"] + notes).joined(separator: "; "))
    case .ready: (.ready, notes.joined(separator: "; "))
    case .unhealthy(let reason): (.unhealthy, reason)
    }
  }

  private static func state(drainedBecause reason: DrainReason) -> SupervisorTypes.State {
    switch reason {
    case .degraded, .fitsByNow: .degraded
    default: .draining
    }
  }
}
