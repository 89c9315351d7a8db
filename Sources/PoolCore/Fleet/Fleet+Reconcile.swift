import OrderedCollections

extension Fleet {
  /// Holds what is against what is wanted, and says what to do about the difference.
  mutating func reconcile(at now: Instant) -> [FleetAction] {
    guard hasBegun else { return [] }
    if isStopping { return stopEverything(at: now) }
    if isLeaving { return takeBackStarts(at: now) }
    var actions = killOverdue(at: now)
    actions += decide(at: now)
    let extra = replaceOneStale(&actions)
    actions += start(upTo: decision.target + extra, at: now)
    actions += shrink(to: decision.target + extra, at: now)
    actions += tellDispatcher()
    actions += retireDrained(at: now)
    return actions
  }

  // MARK: Steps

  private mutating func stopEverything(at now: Instant) -> [FleetAction] {
    var actions: [FleetAction] = []
    for (id, record) in placements {
      if let instance = record.running { actions += stop(id, instance, .poolStops, at: now) }
    }
    return actions + tellDispatcher()
  }

  private mutating func takeBackStarts(at now: Instant) -> [FleetAction] {
    var actions: [FleetAction] = []
    for (id, record) in placements {
      guard let instance = record.running, instance.isColdStart, now - instance.launchedAt < Self.freshStart else {
        continue
      }
      actions += stop(id, instance, .poolStops, at: now)
    }
    return actions + tellDispatcher()
  }

  /// How young a start that is not ready yet may be to be taken back when the supervisor ends.
  static let freshStart: Duration = .seconds(10)

  private mutating func decide(at now: Instant) -> [FleetAction] {
    let capacity = placements.values.count { isPlaceable($0) || ($0.isConfigured && $0.life != .absent) }
    let old = decision
    decision = scaler.target(capacity: capacity, at: now)
    if !decision.mayShrink {
      let there = min(serving.count + launching, capacity)
      if there > decision.target { decision = ScalingDecision(target: there, reason: .noObservation, mayShrink: false) }
    }
    guard decision.target != old.target else { return [] }
    return [
      .report(
        .targetChanged(
          from: old.target, to: decision.target, ready: ready, starting: launching + starting,
          demand: observation?.demand ?? 0, decision.reason))
    ]
  }

  /// Kills what has been starting for too long, and drains that reached their deadline.
  private mutating func killOverdue(at now: Instant) -> [FleetAction] {
    var actions: [FleetAction] = []
    for (id, record) in placements {
      guard var instance = record.running else { continue }
      if case .starting(let since) = instance.standing, isConnected, now - since >= limits.startTimeout {
        actions += stop(id, instance, .neverReady(after: now - since), at: now)
      } else if !record.isConfigured, instance.drain == nil {
        instance.drain = RunningInstance.Drain(reason: .placementRemoved)
        placements[id]?.running = instance
        actions.append(.report(.draining(id, .placementRemoved)))
      } else if let drain = instance.drain, let deadline = drain.deadline, deadline <= now {
        actions += stop(id, instance, .drained(drain.reason), at: now)
      }
    }
    return actions
  }

  /// Replaces instances of an old specification one at a time: a new one is ready before an old one drains where a
  /// placement is free; else the old one drains first.
  ///
  /// - Returns: how many instances beyond the target are wanted for it.
  private mutating func replaceOneStale(_ actions: inout [FleetAction]) -> Int {
    // Without the dispatcher nothing can drain, and what is there counts as wanted: with one more at each turn all
    // placements would fill up.
    guard isConnected, decision.mayShrink else { return 0 }
    let stale = serving.filter { id, instance in
      placements[id].map { $0.placement.specification != instance.unit.specification } ?? false
    }
    guard let (id, instance) = stale.last else {
      heldReplacement = nil
      return 0
    }
    // What does not run with the new specification must not cost the instances that run with the old one.
    if let (broken, record) = placements.first(where: { $1.life == .absent && $1.restarts.failures > 0 }) {
      if heldReplacement != broken {
        heldReplacement = broken
        actions.append(.report(.replacementHeld(by: broken, reason: record.restarts.lastFailure ?? "")))
      }
      return 0
    }
    let isUnderWay = placements.values.contains {
      if case .stopping(_, _, .drained(.specificationChanged)) = $0.life { return true }
      return $0.running?.drain?.reason == .specificationChanged
    }
    if isUnderWay { return 0 }
    // The replacement is on its way: it counts beyond the target until it is ready.
    if launching + starting > 0 { return 1 }
    let hasFreePlacement = placements.values.contains { $0.life == .absent && isPlaceable($0) }
    if ready <= decision.target, hasFreePlacement { return 1 }
    var draining = instance
    draining.drain = RunningInstance.Drain(reason: .specificationChanged)
    placements[id]?.running = draining
    actions.append(.report(.draining(id, .specificationChanged)))
    return 0
  }

  private mutating func start(upTo target: Int, at now: Instant) -> [FleetAction] {
    let underWay = launching + starting
    // Those that an operator restarts, then those that failed least; among equals the configured order.
    let free = placements.values.filter { $0.life == .absent && isPlaceable($0) && $0.restarts.mayStart(at: now) }
    let order = free.enumerated().sorted { one, other in
      (one.element.isRestarting ? 0 : 1, one.element.restarts.failures, one.offset)
        < (other.element.isRestarting ? 0 : 1, other.element.restarts.failures, other.offset)
    }.map(\.element)
    let wanted = max(target - (ready + underWay), order.count { $0.isRestarting })
    var actions: [FleetAction] = []
    for record in order.prefix(max(0, min(wanted, scaler.settings.parallelStarts - underWay))) {
      let id = record.placement.id
      placements[id]?.life = .launching(since: now)
      actions += [
        .report(.starting(id, attempt: record.restarts.failures)), .start(id, attempt: record.restarts.failures),
      ]
    }
    return actions
  }

  /// Work-conserving: what is beyond the target is surplus; it is retired only when it has been empty for the idle
  /// hold. A start is cancelled only if nobody waits and more than half of a cold start remains.
  private mutating func shrink(to target: Int, at now: Instant) -> [FleetAction] {
    guard decision.mayShrink, isConnected else { return [] }
    var actions: [FleetAction] = []
    for (id, instance) in readyBeyond(target) where instance.isEmpty && !instance.isRetiring {
      guard let idle = instance.idle, idle >= scaler.idleHold else { continue }
      placements[id]?.running?.isRetiring = true
      actions.append(.retire(id, instance.unit.invocation))
    }
    guard observation?.depth == 0, observation?.outsideDepth == 0 else { return actions }
    let spare = ready + starting - target
    for (id, instance) in serving.reversed().filter(\.instance.isStarting).prefix(max(0, spare))
    where instance.isColdStart && placements[id]?.isRestarting != true
      && now - instance.launchedAt < scaler.coldStart / 2
    {
      actions += stop(id, instance, .notNeededAnyMore, at: now)
    }
    return actions
  }

  private mutating func retireDrained(at now: Instant) -> [FleetAction] {
    guard isConnected else { return [] }
    var actions: [FleetAction] = []
    for (id, record) in placements {
      guard let instance = record.running, instance.drain != nil, instance.isEmpty, instance.idle != nil,
        !instance.isRetiring, toldSet?.contains(where: { $0.id == id && $0.role == .draining }) == true
      else { continue }
      placements[id]?.running?.isRetiring = true
      actions.append(.retire(id, instance.unit.invocation))
    }
    return actions
  }

  /// The wanted set, where it differs from what the dispatcher was told.
  private mutating func tellDispatcher() -> [FleetAction] {
    guard isConnected else { return [] }
    let set = wantedSet
    guard set != toldSet else { return [] }
    toldSet = set
    return [.setInstances(set)]
  }

  // MARK: Views

  /// Every unit that runs and is not being stopped, oldest first, with its role.
  var wantedSet: [WantedInstance] {
    let surplus = Set(readyBeyond(decision.target).map(\.id))
    return placements.values.compactMap { record in record.running.map { (record.placement, $0) } }
      .sorted { ($0.1.launchedAt, $0.0.id) < ($1.1.launchedAt, $1.0.id) }
      .map { placement, instance in
        let (role, reason): (WantedInstance.Role, String) =
          if let drain = instance.drain {
            (.draining, drain.reason.rawValue)
          } else if surplus.contains(placement.id) {
            (.surplus, "more than the target of \(decision.target)")
          } else {
            (.core, "")
          }
        return WantedInstance(
          id: placement.id, invocation: instance.unit.invocation, address: instance.unit.address,
          gpus: placement.gpus, slots: placement.slots, models: placement.models, role: role, reason: reason)
      }
  }

  /// Ready instances beyond the first `target`, oldest first.
  private func readyBeyond(_ target: Int) -> [(id: InstanceID, instance: RunningInstance)] {
    ready > target ? Array(serving.filter(\.instance.isReady).dropFirst(target)) : []
  }

  /// Instances that run, are ready, and are not on their way out.
  package var ready: Int { placements.values.count { $0.running.map { $0.isReady && $0.drain == nil } ?? false } }
  /// Instances that run and are not ready yet.
  package var starting: Int { placements.values.count { $0.running.map { $0.isStarting && $0.drain == nil } ?? false } }
  /// Starts that were ordered and have not brought a unit yet.
  package var launching: Int {
    placements.values.count { if case .launching = $0.life { true } else { false } }
  }

  /// Whether an instance may be started there, once its pause is over.
  private func isPlaceable(_ record: Record) -> Bool {
    record.isConfigured && cordons[record.placement.id.name] == nil
      && !record.placement.gpus.contains { cordons[$0] != nil }
  }
}
