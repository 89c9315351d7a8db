package import OrderedCollections

/// The supervisor's decisions: which instances run, which go, and what the dispatcher is told of them.
///
/// Desired and actual are kept apart: events change what is known, and `reconcile` holds it against what is wanted
/// and returns what to do about the difference. So a restart of either daemon needs no special way: the units that
/// were found and the dispatcher's next observation are events like any other.
///
/// - here: events;
/// - `Fleet+Reconcile`: from the difference to actions;
/// - `Fleet+Operator`: what operators may order.
package struct Fleet: Sendable {
  package var limits: FleetLimits
  package var scaler: Scaler
  /// What is known of each placement, in the configured order; also of one that was removed while its unit runs.
  package internal(set) var placements: OrderedDictionary<InstanceID, Record> = [:]
  /// Cordoned GPUs (or placements without one, by their name), with the reason: nothing is started there, what runs
  /// goes on.
  package internal(set) var cordons: [String: String] = [:]
  package internal(set) var decision = ScalingDecision(target: 0, reason: .noObservation, mayShrink: false)
  /// The dispatcher's last word; nil while it is not connected.
  package internal(set) var observation: QueueObservation?

  /// Nothing is started before the units that run already have been found.
  var hasBegun = false
  var isStopping = false
  var isLeaving = false
  var isConnected = false
  /// What the dispatcher was told last on this connection.
  var toldSet: [WantedInstance]?
  var heldReplacement: InstanceID?

  package init(limits: FleetLimits = FleetLimits(), scaling: ScalingSettings = ScalingSettings()) {
    self.limits = limits
    scaler = Scaler(settings: scaling)
  }

  package struct Record: Hashable, Sendable {
    package var placement: Placement
    package var life = InstanceLife.absent
    package var restarts = Restarts()
    /// An operator restarts it: it is started again whatever the target is, until it is ready or has failed.
    var isRestarting = false
    /// False once the configuration no longer has it; the record goes when its unit is gone.
    package var isConfigured = true

    package var running: RunningInstance? {
      get { if case .running(let instance) = life { instance } else { nil } }
      set { if let newValue { life = .running(newValue) } }
    }
  }

  // MARK: What the shell found out

  /// The configured placements, at the start and whenever configuration or inventory changed.
  package mutating func placementsChanged(_ new: [Placement], at now: Instant) -> [FleetAction] {
    let old = placements
    placements = [:]
    for placement in new {
      var record = old[placement.id] ?? Record(placement: placement)
      if record.placement.specification != placement.specification { record.restarts.reset() }
      record.placement = placement
      record.isConfigured = true
      placements[placement.id] = record
    }
    for (id, var record) in old where placements[id] == nil && record.life != .absent {
      record.isConfigured = false
      placements[id] = record
    }
    return reconcile(at: now)
  }

  /// What made starts fail everywhere is over: each placement may be tried again at once.
  package mutating func forgetFailures(at now: Instant) -> [FleetAction] {
    for id in placements.keys where placements[id]?.life == .absent { placements[id]?.restarts.reset() }
    return reconcile(at: now)
  }

  /// The units that run already; starts come only after this.
  package mutating func began(found units: [InstanceID: RunningInstance.Unit], at now: Instant) -> [FleetAction] {
    hasBegun = true
    var actions: [FleetAction] = []
    for (id, unit) in units.sorted(by: { $0.key < $1.key }) { actions.append(adopt(id, unit, at: now)) }
    // Why they run is not known any more; the pool does not shrink below them before it has seen the load for a while.
    scaler.assumeNeeded(units.count, at: now)
    return actions + reconcile(at: now)
  }

  /// A unit runs: one that was ordered, or one that an earlier supervisor had ordered before it died.
  package mutating func unitStarted(_ id: InstanceID, _ unit: RunningInstance.Unit, at now: Instant) -> [FleetAction] {
    switch placements[id]?.life {
    case .launching(let since):
      placements[id]?.running = RunningInstance(
        unit: unit, launchedAt: since, isColdStart: true, standing: .starting(since: now))
      return [.report(.running(id, unit))] + reconcile(at: now)
    case .absent, nil:
      return [adopt(id, unit, at: now)] + reconcile(at: now)
    case .running, .stopping: return []
    }
  }

  package mutating func startFailed(_ id: InstanceID, reason: String, at now: Instant) -> [FleetAction] {
    guard case .launching = placements[id]?.life else { return [] }
    placements[id]?.life = .absent
    return failed(id, reason, hadRun: false, at: now) + reconcile(at: now)
  }

  /// A unit is gone, with what systemd says of its end.
  package mutating func unitEnded(
    _ id: InstanceID, _ invocation: InvocationID, reason: String, at now: Instant
  ) -> [FleetAction] {
    var actions: [FleetAction] = []
    switch placements[id]?.life {
    case .running(let instance) where instance.unit.invocation == invocation:
      placements[id]?.life = .absent
      actions = failed(id, reason, at: now)
    case .stopping(invocation, _, let because):
      placements[id]?.life = .absent
      actions = [.report(.stopped(id, because))]
      if because.isFault { actions += failed(id, because.description, at: now) }
    default: return []
    }
    if placements[id]?.isConfigured == false { placements[id] = nil }
    return actions + reconcile(at: now)
  }

  // MARK: What the dispatcher says

  package mutating func dispatcherConnected(at now: Instant) -> [FleetAction] {
    isConnected = true
    toldSet = nil
    for id in placements.keys where placements[id]?.running?.isStarting == true {
      placements[id]?.running?.standing = .starting(since: now)
    }
    scaler.assumeNeeded(serving.count, at: now)
    return [.report(.dispatcherFound)] + reconcile(at: now)
  }

  package mutating func dispatcherLost(at now: Instant) -> [FleetAction] {
    guard isConnected else { return [] }
    isConnected = false
    observation = nil
    for id in placements.keys { placements[id]?.running?.isRetiring = false }
    return [.report(.dispatcherLost)] + reconcile(at: now)
  }

  package mutating func observed(_ observation: QueueObservation, at now: Instant) -> [FleetAction] {
    guard isConnected else { return [] }
    self.observation = observation
    let slots = placements.values.lazy.filter(\.isConfigured).map(\.placement.slots).min() ?? 1
    scaler.observed(demand: observation.demand, slots: slots, at: now)
    var actions: [FleetAction] = []
    for seen in observation.instances {
      guard var instance = placements[seen.id]?.running, instance.unit.invocation == seen.invocation else { continue }
      instance.leases = seen.leases
      instance.references = seen.references
      instance.idle = seen.idle
      switch (instance.standing, seen.health) {
      case (.ready(let since), .healthy):
        if now - since >= limits.restarts.steadyAfter { placements[seen.id]?.restarts.reset() }
      case (_, .healthy):
        instance.standing = .ready(since: now)
        placements[seen.id]?.isRestarting = false
        if instance.isColdStart {
          instance.isColdStart = false
          actions.append(.report(.ready(seen.id, after: now - instance.launchedAt)))
          scaler.measured(coldStart: now - instance.launchedAt)
        }
      case (.starting, .starting): break
      case (_, .starting): instance.standing = .starting(since: now)
      case (_, .unhealthy(let reason, let isFinal, let since)):
        instance.standing = .unhealthy(reason: reason)
        if isFinal || since >= limits.unhealthyGrace {
          actions += stop(seen.id, instance, .unhealthy(reason), at: now)
          continue
        }
      }
      placements[seen.id]?.running = instance
    }
    return actions + reconcile(at: now)
  }

  /// The answer to `.retire`, given on the present connection.
  package mutating func retireAnswered(
    _ id: InstanceID, _ invocation: InvocationID, _ answer: Dispatch.RetireAnswer, at now: Instant
  ) -> [FleetAction] {
    guard var instance = placements[id]?.running, instance.unit.invocation == invocation, instance.isRetiring,
      isConnected
    else { return [] }
    instance.isRetiring = false
    placements[id]?.running = instance
    switch answer {
    case .retired:
      let reason: StopReason = instance.drain.map { .drained($0.reason) } ?? .surplus(idle: instance.idle ?? .zero)
      return stop(id, instance, reason, at: now) + reconcile(at: now)
    case .busy:
      placements[id]?.running?.idle = nil
      placements[id]?.running?.leases = max(1, instance.leases)
      return []
    case .unknown:
      // It does not know the present set: tell it again, and ask again at its next word.
      toldSet = nil
      return reconcile(at: now)
    }
  }

  package mutating func tick(at now: Instant) -> [FleetAction] { reconcile(at: now) }

  /// The supervisor ends and leaves its instances alone. What it has only just started it takes back: a stop of the
  /// whole pool reaches the units that exist when it is ordered, and such a start may come after it.
  package mutating func leave(at now: Instant) -> [FleetAction] {
    isLeaving = true
    return reconcile(at: now)
  }

  /// The pool stops for good, and its instances with it.
  package mutating func stopAll(at now: Instant) -> [FleetAction] {
    isStopping = true
    return reconcile(at: now)
  }

  // MARK: Helpers

  private mutating func adopt(_ id: InstanceID, _ unit: RunningInstance.Unit, at now: Instant) -> FleetAction {
    if placements[id] == nil {
      placements[id] = Record(placement: Placement(id: id, gpus: []), isConfigured: false)
    }
    placements[id]?.running = RunningInstance(
      unit: unit, launchedAt: min(unit.startedAt ?? now, now), isColdStart: false, standing: .starting(since: now))
    return .report(.adopted(id, unit))
  }

  mutating func failed(_ id: InstanceID, _ reason: String, hadRun: Bool = true, at now: Instant) -> [FleetAction] {
    guard var restarts = placements[id]?.restarts else { return [] }
    let pause = restarts.failed(reason, hadRun: hadRun, limits: limits.restarts, at: now)
    placements[id]?.restarts = restarts
    placements[id]?.isRestarting = false
    return [
      .report(
        restarts.isQuarantined
          ? .quarantined(id, reason: reason, failures: restarts.failures, retryIn: pause)
          : .failed(id, reason: reason, failures: restarts.failures, retryIn: pause))
    ]
  }

  mutating func stop(_ id: InstanceID, _ instance: RunningInstance, _ reason: StopReason, at now: Instant)
    -> [FleetAction]
  {
    placements[id]?.life = .stopping(instance.unit.invocation, since: now, because: reason)
    return [.report(.stopping(id, reason)), .stop(id, instance.unit.invocation, kill: reason.isFault)]
  }

  /// Instances that run and are not on their way out, oldest first.
  var serving: [(id: InstanceID, instance: RunningInstance)] {
    placements.compactMap { id, record in record.running.map { (id, $0) } }
      .filter { $0.instance.drain == nil }
      .sorted { ($0.instance.launchedAt, $0.id) < ($1.instance.launchedAt, $1.id) }
  }
}
