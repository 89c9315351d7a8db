import OrderedCollections

extension Fleet {
  /// Holds what is against what is wanted, and says what to do about the difference.
  mutating func reconcile(at now: Instant) -> [FleetAction] {
    guard hasBegun else { return [] }
    if isStopping { return stopEverything(at: now) }
    if isLeaving { return takeBackStarts(at: now) }
    var actions = endCordons(at: now)
    dropVoidOrders()
    takeBackReplacements()
    actions += minds(gpusAt: now)
    actions += stopOverdue(at: now)
    actions += drainRemoved()
    let wish = decide(at: now, &actions)
    let extra = replaceOneStale(&actions, at: now)
    // Before anything is asked: the dispatcher must know what it is asked about.
    let there = census
    actions += tellDispatcher(there, at: now)
    actions += start(upTo: decision.target + extra, ofWished: max(wish, decision.target) + extra, there, at: now)
    actions += shrink(to: decision.target + extra, there, at: now)
    actions += retireDrained(at: now)
    actions += readModels(after: actions, at: now)
    return actions
  }

  // MARK: Steps

  private mutating func stopEverything(at now: Instant) -> [FleetAction] {
    var actions: [FleetAction] = []
    for (id, record) in placements {
      if let instance = record.running { actions += stop(id, instance, .poolStops, at: now) }
    }
    return actions + tellDispatcher(at: now)
  }

  /// What the dispatcher knows it is asked about, and what can't be asked about stays: without a connection it may
  /// serve all the same.
  private mutating func takeBackStarts(at now: Instant) -> [FleetAction] {
    var actions: [FleetAction] = []
    var known: [(InstanceID, Shared<RunningInstance>)] = []
    for (id, record) in placements {
      guard let instance = record.running, instance.isColdStart, instance.isEmpty, !instance.isRetiring,
        now - instance.launchedAt < Self.freshStart
      else { continue }
      if instance.wasTold { known.append((id, instance)) } else { actions += stop(id, instance, .poolStops, at: now) }
    }
    actions += tellDispatcher(at: now)
    guard isConnected else { return actions }
    for (id, instance) in known { actions += retire(id, instance, .poolStops) }
    return actions
  }

  /// How young a start that is not ready yet may be to be taken back when the supervisor ends.
  static let freshStart: Duration = .seconds(10)

  /// - Returns: what the target would be if nothing stood against starts.
  private mutating func decide(at now: Instant, _ actions: inout [FleetAction]) -> Int {
    let (places, capacity) = room(at: now)
    let old = decision
    decision = scaler.target(capacity: capacity, at: now)
    let wish = places == capacity ? decision.target : scaler.target(capacity: places, at: now).target
    if !decision.mayShrink {
      let there = min(serving.count + launching, capacity)
      if there > decision.target { decision = ScalingDecision(target: there, reason: .noObservation, mayShrink: false) }
    }
    if decision.target != old.target {
      actions.append(
        .report(
          .targetChanged(
            from: old.target, to: decision.target, ready: ready, starting: launching + starting,
            demand: observation?.demand ?? 0, decision.reason)))
    }
    return wish
  }

  /// How many placements could run an instance if nothing stood against starts, and how many of them can now.
  private func room(at now: Instant) -> (places: Int, capacity: Int) {
    var (places, capacity) = (0, 0)
    for record in placements.values {
      if isPlaceable(record) || !record.life.isAbsent && (record.isConfigured || !knowsAllPlacements) { places += 1 }
      if canRun(record, at: now) { capacity += 1 }
    }
    return (places, capacity)
  }

  /// Ends what has been starting for too long, and drains that reached their deadline.
  private mutating func stopOverdue(at now: Instant) -> [FleetAction] {
    var actions: [FleetAction] = []
    for (id, record) in placements {
      guard let instance = record.running else { continue }
      if let drain = drain(of: id, instance), let deadline = drain.deadline, deadline <= now {
        actions += stop(id, instance, drain.reason.stopReason, at: now)
      } else if case .starting(let since) = instance.standing, isConnected, now - since >= limits.startTimeout,
        !instance.isRetiring
      {
        actions += retire(id, instance, .neverReady(after: now - since))
      }
    }
    return actions
  }

  /// Where another placement takes over the GPUs, they are replaced one at a time instead.
  private mutating func drainRemoved() -> [FleetAction] {
    guard knowsAllPlacements else { return [] }
    var actions: [FleetAction] = []
    for (id, record) in placements where !record.isConfigured && drain(of: id) == nil && !isTakenOver(record) {
      actions += beginDrain(of: id, .placementRemoved)
    }
    return actions
  }

  /// Whether a configured placement has one of the GPUs of what is there, or as it no GPU at all.
  func isTakenOver(_ record: Record) -> Bool {
    placements.values.contains { other in
      other.isConfigured
        && (other.placement.gpus.contains(where: record.gpus.contains)
          || other.placement.gpus.isEmpty && record.gpus.isEmpty)
    }
  }

  mutating func beginDrain(of id: InstanceID, _ reason: DrainReason) -> [FleetAction] {
    guard placements[id]?.running != nil else { return [] }
    placements[id]?.running?.departure.outdated = reason
    return reportDrain(of: id)
  }

  /// - Parameter wished: the target if nothing stood against starts: what is passed over for its sake is told of.
  private mutating func start(
    upTo target: Int, ofWished wished: Int, _ there: Census, at now: Instant
  ) -> [FleetAction] {
    if startsWaitForDrain, observation?.isDraining == true { return [] }
    let (ready, underWay) = (there.ready, there.launching + there.starting)
    let hasReserved = placements.values.contains { !$0.placement.models.isEmpty }
    guard wished > ready + underWay || !orders.isEmpty || hasReserved else { return [] }
    // Those that an operator restarts, or that models wait for which nothing else serves, then those that failed least;
    // among equals as configured.
    let awaited = awaitedForModels(at: now)
    let free = startable.filter { $0.history.restarts.mayStart(at: now) }
      .map { (record: $0, isAwaited: awaitsRestart($0.placement.id) || awaited.contains($0.placement.id)) }
    let inTurn = free.enumerated().sorted { one, other in
      (one.element.isAwaited ? 0 : 1, one.element.record.history.restarts.failures, one.offset)
        < (other.element.isAwaited ? 0 : 1, other.element.record.history.restarts.failures, other.offset)
    }.map(\.element.record)
    let first = free.filter { $0.isAwaited && obstacle(against: $0.record.placement.id, at: now) == nil }
    let wanted = max(target - (ready + underWay), first.count)
    var room = min(wanted, scaler.settings.parallelStarts - underWay)
    var wishes = max(wished - (ready + underWay), room)
    var actions: [FleetAction] = []
    for record in inTurn where wishes > 0 {
      let id = record.placement.id
      if let obstacle = obstacle(against: id, at: now) {
        actions += hold(id, obstacle, at: now)
        continue
      }
      guard room > 0 else { continue }
      room -= 1
      wishes -= 1
      placements[id]?.life = .launching(record.placement, since: now)
      placements[id]?.history.obstacles = ToldObstacles()
      actions += [
        .report(.starting(id, attempt: record.history.restarts.failures)),
        .start(id, attempt: record.history.restarts.failures),
      ]
    }
    return actions
  }

  /// One placement for each model that requests wait for and nothing serves that runs or starts, beyond the target if
  /// need be, but not beyond what an operator allows: with placements that are reserved for models, the target alone
  /// does not say which to start.
  private func awaitedForModels(at now: Instant) -> Set<InstanceID> {
    guard let observation, placements.values.contains(where: { !$0.placement.models.isEmpty }) else { return [] }
    let most = (scaler.override?.maximum ?? .max) - (ready + starting + launching)
    let free = startable.filter {
      $0.history.restarts.mayStart(at: now) && obstacle(against: $0.placement.id, at: now) == nil
    }
    var awaited: Set<InstanceID> = []
    for model in observation.waitingByModel.keys.sorted() where !model.isEmpty && awaited.count < most {
      let isServed = placements.contains { id, record in
        if awaited.contains(id) { return record.placement.serves(model) }
        return record.life.placement?.serves(model) == true && record.life.isOnItsWay && drain(of: id) == nil
      }
      if isServed { continue }
      let fit = free.filter { $0.placement.serves(model) }
      if let next = fit.min(by: { $0.history.restarts.failures < $1.history.restarts.failures }) {
        awaited.insert(next.placement.id)
      }
    }
    return awaited
  }

  /// Work-conserving: what is beyond the target is surplus; it is retired only when it has been empty for the idle
  /// hold. A start is cancelled only if nobody waits and more than half of a cold start remains. What has no placement
  /// just now could not be started again, and stays.
  private mutating func shrink(to target: Int, _ there: Census, at now: Instant) -> [FleetAction] {
    guard decision.mayShrink, isConnected else { return [] }
    var actions: [FleetAction] = []
    for (id, instance) in readyBeyond(target, of: there.ready)
    where instance.isEmpty && !instance.isRetiring && placements[id]?.isConfigured == true {
      guard let idle = instance.idle, idle >= scaler.settings.idleHold else { continue }
      actions += retire(id, instance, .surplus(idle: idle))
    }
    guard observation?.depth == 0, observation?.outsideDepth == 0 else { return actions }
    let spare = there.ready + there.starting - target
    guard spare > 0 else { return actions }
    for (id, instance) in serving.reversed().filter({ $0.instance.isStarting }).prefix(spare)
    where instance.isColdStart && instance.isEmpty && !instance.isRetiring && !awaitsRestart(id)
      && now - instance.launchedAt < scaler.coldStart / 2
    {
      actions += retire(id, instance, .notNeededAnyMore)
    }
    return actions
  }

  private mutating func retireDrained(at now: Instant) -> [FleetAction] {
    guard isConnected else { return [] }
    var actions: [FleetAction] = []
    for (id, record) in placements {
      guard let instance = record.running, let drain = drain(of: id, instance), instance.isEmpty, instance.idle != nil,
        !instance.isRetiring
      else { continue }
      actions += retire(id, instance, drain.reason.stopReason)
    }
    return actions
  }

  /// What holds nothing as far as is known is stopped only once the dispatcher, told of it and connected, agrees, also
  /// while it is starting or seems unhealthy: it may have been given a request this very moment.
  mutating func retire(_ id: InstanceID, _ instance: Shared<RunningInstance>, _ reason: StopReason) -> [FleetAction] {
    placements[id]?.running?.departure.retiring = reason
    return [.retire(id, instance.unit.invocation)]
  }

  /// The wanted set, where it differs from what the dispatcher was told.
  mutating func tellDispatcher(at now: Instant) -> [FleetAction] { tellDispatcher(census, at: now) }

  private mutating func tellDispatcher(_ there: Census, at now: Instant) -> [FleetAction] {
    guard isConnected else { return [] }
    var actions = chooseWriter() + openNetwork(at: now)
    let set = wantedSet(there, at: now)
    if set != toldSet {
      toldSet = set
      for id in placements.keys { placements[id]?.running?.wasTold = true }
      actions.append(.setInstances(set))
    }
    return actions + closeNetworks(at: now)
  }

  // MARK: Views

  private func wantedSet(_ there: Census, at now: Instant) -> WantedSet {
    WantedSet(
      wantedInstances(there), models: limits.servedModels, storeRefusal: limits.storeRefusal,
      awaitingTurn: readAhead.awaitingTurn(at: now))
  }

  /// Every unit that runs and is not being stopped, oldest first, with its role.
  private func wantedInstances(_ there: Census) -> [WantedInstance] {
    let surplus = Set(readyBeyond(decision.target, of: there.ready).map(\.id))
    let running = placements.compactMap { id, record in record.running.map { (id: id, instance: $0) } }
      .sorted { ($0.instance.launchedAt, $0.id) < ($1.instance.launchedAt, $1.id) }
    return running.map { id, instance in
      let placement = instance.placement
      let (role, reason): (WantedInstance.Role, String) =
        if let drain = drain(of: id, instance) {
          (drain.reason.role, drain.reason.description)
        } else if surplus.contains(id) {
          (.surplus, "more than the target of \(decision.target)")
        } else {
          (.core, "")
        }
      return WantedInstance(
        id: id, invocation: instance.unit.invocation, address: instance.unit.address,
        gpus: placement.gpus, slots: placement.slots, models: placement.models,
        writesStore: writer?.id == id, role: role, reason: reason)
    }
  }

  /// Ready instances beyond the first `target`, oldest first; the one that writes the model store goes last of all.
  private func readyBeyond(_ target: Int, of ready: Int) -> [(id: InstanceID, instance: Shared<RunningInstance>)] {
    guard ready > target else { return [] }
    var inTurn = serving.filter { $0.instance.isReady }
    if let index = inTurn.firstIndex(where: { $0.id == writer?.id }) { inTurn.insert(inTurn.remove(at: index), at: 0) }
    return Array(inTurn.dropFirst(target))
  }

  /// Instances that run, are ready, and are not on their way out.
  package var ready: Int { census.ready }
  /// Instances that run, are not ready yet, and are not on their way out.
  package var starting: Int { census.starting }
  /// Starts that were ordered and have not brought a unit yet.
  package var launching: Int { census.launching }

  private typealias Census = (ready: Int, starting: Int, launching: Int)

  private var census: Census {
    var (ready, starting, launching) = (0, 0, 0)
    for (id, record) in placements {
      switch record.life {
      case .launching: launching += 1
      case .running(let instance) where drain(of: id, instance) == nil:
        if instance.isReady { ready += 1 }
        if instance.isStarting { starting += 1 }
      case .absent, .running, .stopping: break
      }
    }
    return (ready, starting, launching)
  }

  /// Where an instance can be started now, once its pause is over.
  var startable: [Record] {
    placements.values.filter { $0.life.isAbsent && isPlaceable($0) && !isOccupied($0) }
  }

  /// Whether an instance may be started there at all.
  func isPlaceable(_ record: Record) -> Bool { record.isConfigured && cordon(on: record.placement) == nil }

  /// Whether something of another placement is on one of its GPUs that doesn't share it.
  func isOccupied(_ record: Record) -> Bool {
    placements.values.contains { other in
      guard let held = other.life.placement, other.placement.id != record.placement.id else { return false }
      return !(record.placement.isShared && other.placement.isShared)
        && held.gpus.contains(where: record.placement.gpus.contains)
    }
  }
}
