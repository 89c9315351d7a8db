package import OrderedCollections

/// The supervisor's decisions: which instances run, which go, and what the dispatcher is told of them.
///
/// Desired and actual are kept apart: events change what is known, and `reconcile` holds it against what is wanted
/// and returns what to do about the difference. So a restart of either daemon needs no special way: the units that
/// were found and the dispatcher's next observation are events like any other.
///
/// - here: what the shell found out;
/// - `Fleet+Dispatcher`: what the dispatcher says;
/// - `Fleet+GPUs`: what the driver says of the GPUs;
/// - `Fleet+Operator`: what operators may order;
/// - `Fleet+Reconcile`, `Fleet+Replacement`: from the difference to actions;
/// - `Fleet+Obstacles`: what stands against a start; `Fleet+Store`: who writes the model store;
/// - `Fleet+ReadAhead`: what is read into memory before it is loaded.
package struct Fleet: Sendable {
  package var limits: FleetLimits
  package var scaler: Scaler
  /// Whether nothing is started while the dispatcher drains: systemd lets an instance's start wait until the dispatcher
  /// that it stops has ended, so that the start would fail for the time it takes.
  package let startsWaitForDrain: Bool
  /// What is known of each placement, in the configured order; also of one that was removed while its unit runs.
  package internal(set) var placements: OrderedDictionary<InstanceID, Record> = [:]
  /// What is known of each GPU, by its UUID, also of those without a placement.
  package internal(set) var gpus: OrderedDictionary<String, GPUState> = [:]
  /// Cordoned GPUs (or placements without one, by their name): nothing is started there, what runs goes on.
  package internal(set) var cordons: [String: Cordon] = [:]
  /// What operators ordered of single placements, and what still stands.
  package internal(set) var orders: [InstanceID: OperatorOrder] = [:]
  package internal(set) var decision = ScalingDecision(target: 0, reason: .noObservation, mayShrink: false)
  /// The dispatcher's last word; nil while it is not connected.
  package internal(set) var observation: QueueObservation?

  /// Nothing is started before the units that run already have been found.
  var hasBegun = false
  /// Starts that came to nothing, whatever the reason; never less than before.
  package private(set) var failedStarts = 0
  /// Instances that became degraded; never less than before.
  package internal(set) var degradations = 0
  var isStopping = false
  var isLeaving = false
  var isConnected = false
  /// Whether all placements are known: where not, that one is missing says nothing about what runs there.
  var knowsAllPlacements = true
  /// When a placement's specification last became another one; nil for not in this supervisor's life.
  var specificationsChangedAt: Instant?
  /// What the dispatcher was told last on this connection.
  var toldSet: WantedSet?
  /// The one that writes the model store; nil while none can.
  var writer: Writer?
  var heldReplacement: InstanceID?
  package internal(set) var readAhead = ReadAhead()
  /// Models that an instance was taken out for since they were on its CPU, and when.
  var suspectModels: OrderedDictionary<String, Instant> = [:]

  package init(
    limits: FleetLimits = FleetLimits(), scaling: ScalingSettings = ScalingSettings(), startsWaitForDrain: Bool = false
  ) {
    self.limits = limits
    self.startsWaitForDrain = startsWaitForDrain
    scaler = Scaler(settings: scaling)
  }

  package struct Record: Hashable, Sendable {
    @Shared package var placement: Placement
    package var life = InstanceLife.absent
    @Shared package internal(set) var history: PlacementHistory
    /// False once the configuration no longer has it; the record goes when its unit is gone.
    package var isConfigured: Bool

    init(placement: Placement, isConfigured: Bool = true) {
      _placement = Shared(wrappedValue: placement)
      self.isConfigured = isConfigured
      _history = Shared(wrappedValue: PlacementHistory(specification: placement.specification))
    }

    package var running: Shared<RunningInstance>? {
      get { if case .running(let instance) = life { instance } else { nil } }
      set { if let newValue { life = .running(newValue) } }
    }

    /// UUIDs of the GPUs of what is there, or else of what would be started there.
    package var gpus: [String] { (life.placement ?? placement).gpus }
  }

  // MARK: What the shell found out

  /// The configured placements, at the start and whenever configuration or inventory changed.
  ///
  /// - Parameter areAll: false where some may be missing because a GPU can't be asked: then what runs without a
  ///   placement stays as it is until they are all known.
  package mutating func placementsChanged(
    _ new: [Placement], areAll: Bool = true, at now: Instant
  ) -> [FleetAction] {
    let old = placements
    placements = [:]
    knowsAllPlacements = areAll
    for placement in new {
      var record = old[placement.id] ?? Record(placement: placement)
      if record.history.learn(placement.specification) { specificationsChangedAt = now }
      record.placement = placement
      record.isConfigured = true
      // Which requests go there takes no other process.
      record.life.reserve(for: placement.models)
      if record.running?.departure.outdated == .placementRemoved { record.running?.departure.outdated = nil }
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
    for id in placements.keys where placements[id]?.life == .absent { placements[id]?.history.restarts.reset() }
    return reconcile(at: now)
  }

  /// The units that are there already; starts come only after this.
  ///
  /// - Parameter ending: those that are on their way out, and still have their GPUs.
  package mutating func began(
    found units: [InstanceID: RunningInstance.Unit], ending: [InstanceID: RunningInstance.Unit] = [:], at now: Instant
  ) -> [FleetAction] {
    hasBegun = true
    var actions: [FleetAction] = []
    for (id, unit) in units.sorted(by: { $0.key < $1.key }) { actions += adopt(id, unit, at: now) }
    for (id, unit) in ending.sorted(by: { $0.key < $1.key }) {
      _ = adopt(id, unit, at: now)
      if let instance = placements[id]?.running { actions += stop(id, instance, .foundStopping, at: now) }
    }
    // Why they run is not known any more; the pool does not shrink below them before it has seen the load for a while.
    scaler.assumeNeeded(units.count, at: now)
    return actions + reconcile(at: now)
  }

  /// A unit runs: one that was ordered, or one that an earlier supervisor had ordered before it died.
  package mutating func unitStarted(_ id: InstanceID, _ unit: RunningInstance.Unit, at now: Instant) -> [FleetAction] {
    switch placements[id]?.life {
    case .launching(let placement, let since):
      placements[id]?.running = Shared(
        wrappedValue: RunningInstance(
          unit: unit, placement: placement.as(found: unit), launchedAt: since, ranAt: now, isColdStart: true,
          isMeasurable: isConnected, wasTold: false, standing: .starting(since: now)))
      return [.report(.running(id, unit))] + reportDrain(of: id) + reconcile(at: now)
    case .absent, nil:
      return adopt(id, unit, at: now) + reconcile(at: now)
    case .running(let earlier), .stopping(let earlier, _):
      if earlier.unit.invocation == unit.invocation { return [] }
      // Its end is not told yet, and is old news by then.
      return ended(id, "another life of it runs", at: now) + adopt(id, unit, at: now) + reconcile(at: now)
    }
  }

  /// A start begins with what is configured by now: between the order and this a newer program may have been found. It
  /// is given up where nothing may be started any more, or where its GPUs are now others or have become taken.
  package mutating func startBegins(_ id: InstanceID, at now: Instant) -> [FleetAction] {
    guard let record = placements[id], case .launching = record.life else { return [] }
    guard isPlaceable(record), !isOccupied(record), obstacle(against: id, at: now) == nil else {
      return [.report(.stopped(id, .mayNotStartAnyMore))] + gone(id, failure: nil, at: now) + reconcile(at: now)
    }
    placements[id]?.life = .launching(record.placement, since: now)
    return []
  }

  package mutating func startFailed(_ id: InstanceID, reason: String, at now: Instant) -> [FleetAction] {
    guard case .launching = placements[id]?.life else { return [] }
    return gone(id, failure: reason, hadRun: false, at: now) + reconcile(at: now)
  }

  /// A unit is gone, with what systemd says of its end.
  package mutating func unitEnded(
    _ id: InstanceID, _ invocation: InvocationID, reason: String, at now: Instant
  ) -> [FleetAction] {
    guard placements[id]?.life.instance?.unit.invocation == invocation else { return [] }
    return ended(id, reason, at: now) + reconcile(at: now)
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
    for (id, order) in orders { if case .restart = order { orders[id] = nil } }
    return reconcile(at: now)
  }

  // MARK: Helpers

  private mutating func adopt(_ id: InstanceID, _ unit: RunningInstance.Unit, at now: Instant) -> [FleetAction] {
    let placement = (placements[id]?.placement ?? Placement(id: id, gpus: [])).as(found: unit)
    if placements[id] == nil { placements[id] = Record(placement: placement, isConfigured: false) }
    placements[id]?.running = Shared(
      wrappedValue: RunningInstance(
        unit: unit, placement: placement, launchedAt: min(unit.startedAt ?? now, now), isColdStart: false,
        isMeasurable: false, wasTold: true, standing: .starting(since: now)))
    return [.report(.adopted(id, unit))] + reportDrain(of: id)
  }

  private mutating func ended(_ id: InstanceID, _ reason: String, at now: Instant) -> [FleetAction] {
    guard case .stopping(_, let because) = placements[id]?.life else { return gone(id, failure: reason, at: now) }
    return [.report(.stopped(id, because))]
      + gone(id, failure: because.isFailure ? because.description : nil, at: now)
  }

  /// Nothing is there any more.
  ///
  /// - Parameter failure: nil where that was wanted.
  private mutating func gone(
    _ id: InstanceID, failure: String?, hadRun: Bool = true, at now: Instant
  ) -> [FleetAction] {
    guard var record = placements[id] else { return [] }
    let life = record.life
    let wasRestarted = awaitsRestart(id)
    record.life = .absent
    if let instance = life.instance {
      for uuid in instance.placement.gpus { gpus[uuid]?.wasLeft(at: now) }
      if instance.memory.mostOnGPU > 0, instance.unit.specification.hasPrefix(record.placement.specification) {
        record.history.lastLoad = instance.memory.mostOnGPU
      }
    }
    var actions: [FleetAction] = []
    if let failure {
      if life.instance?.isColdStart ?? true { failedStarts += 1 }
      let pause = record.history.restarts.failed(failure, hadRun: hadRun, limits: limits.restarts, at: now)
      record.history.failedSpecification = life.placement?.specification
      if wasRestarted { orders[id] = nil }
      let failures = record.history.restarts.failures
      actions = [
        .report(
          record.history.restarts.isQuarantined
            ? .quarantined(id, reason: failure, failures: failures, retryIn: pause)
            : .failed(id, reason: failure, failures: failures, retryIn: pause))
      ]
    }
    placements[id] = record.isConfigured ? record : nil
    return actions
  }

  mutating func stop(_ id: InstanceID, _ instance: Shared<RunningInstance>, _ reason: StopReason, at now: Instant)
    -> [FleetAction]
  {
    placements[id]?.life = .stopping(instance, because: reason)
    return [.report(.stopping(id, reason)), .stop(id, instance.unit.invocation, kill: reason.isFault)]
  }

  /// Instances that run and are not on their way out, oldest first.
  var serving: [(id: InstanceID, instance: Shared<RunningInstance>)] {
    placements.compactMap { id, record in record.running.map { (id, $0) } }
      .filter { drain(of: $0.id, $0.instance) == nil }
      .sorted { ($0.instance.launchedAt, $0.id) < ($1.instance.launchedAt, $1.id) }
  }
}

extension Placement {
  /// What the unit itself says of it, where it says something: it may have been started with another configuration.
  fileprivate func `as`(found unit: RunningInstance.Unit) -> Placement {
    var placement = self
    placement.gpus = unit.gpus ?? gpus
    placement.slots = unit.slots.map { max(1, $0) } ?? slots
    placement.specification = unit.specification
    return placement
  }
}
