import OrderedCollections

/// From an old specification to a new one, and from old placements to those that take their GPUs over.
extension Fleet {
  /// Replaces instances of an old specification one at a time: a new one is ready before an old one drains where a
  /// placement is free; else the old one drains first. No old one drains while the new specification fails and has not
  /// run anywhere.
  ///
  /// - Returns: how many instances beyond the target are wanted for it.
  mutating func replaceOneStale(_ actions: inout [FleetAction], at now: Instant) -> Int {
    // Without the dispatcher nothing can drain, and what is there counts as wanted: with one more at each turn all
    // placements would fill up.
    guard isConnected, decision.mayShrink else { return 0 }
    let stale = isAnyStale ? serving.filter { isStale($0.id) && !isCordoned($0.id) } : []
    if stale.isEmpty {
      heldReplacement = nil
      return 0
    }
    if placements.contains(where: { isBeingReplaced($0, $1) }) { return 0 }
    // The replacement is on its way: it counts beyond the target until it is ready.
    if launching + starting > 0 { return 1 }
    let free = startable.filter { canRun($0, at: now) }
    // Where the old one goes before another one serves its models, its drain is a gap, which a pull may hold open for
    // hours.
    let mayGo = stale.filter { id, instance in
      instance.writes == 0 && !isIrreplaceable(id, at: now) || isServedBeside(id, instance)
        || !free.isEmpty && free.allSatisfy { $0.placement.serves(allOf: instance.placement) }
    }
    if mayGo.isEmpty { return 0 }
    if !isNewSpecificationProven,
      let broken = free.first(where: { $0.history.hasFailed(with: $0.placement.specification) })
    {
      let id = broken.placement.id
      if heldReplacement != id {
        heldReplacement = id
        actions.append(.report(.replacementHeld(by: id, reason: broken.history.restarts.lastFailure ?? "")))
      }
      // It is tried again, there or elsewhere. What is beyond the target goes as any surplus does.
      return ready <= decision.target ? 1 : 0
    }
    heldReplacement = nil
    if ready <= decision.target, free.contains(where: { !$0.history.restarts.isQuarantined }) { return 1 }
    let isReplaced = ready > decision.target
    if let next = mayGo.last(where: { id, instance in
      isReplaced && isServedBeside(id, instance) || instance.writes == 0 && !isIrreplaceable(id, at: now)
    }) {
      let isConfigured = placements[next.id]?.isConfigured == true
      actions += beginDrain(of: next.id, isConfigured ? .specificationChanged : .placementRemoved)
    }
    return 0
  }

  /// What drains so that another one can take its place goes on where no other one may be started any more, or where
  /// that would be the same again.
  mutating func takeBackReplacements() {
    for (id, record) in placements {
      guard let outdated = record.running?.departure.outdated, outdated == .specificationChanged || isTakenOver(record),
        isCordoned(id) || !isStale(id)
      else { continue }
      placements[id]?.running?.departure.outdated = nil
    }
  }

  /// Whether another one is about to be started in place of what is there, for whatever reason.
  private func isBeingReplaced(_ id: InstanceID, _ record: Record) -> Bool {
    switch record.life {
    case .running(let instance): instance.departure.outdated != nil || drain(of: id)?.reason == .operatorRestart
    case .stopping(let instance, let because):
      instance.departure.outdated != nil || because.isFault || because == .drained(.operatorRestart)
    case .absent, .launching: false
    }
  }

  /// Whether another one that is ready serves all that an instance does, or nobody wants that any more.
  private func isServedBeside(_ id: InstanceID, _ instance: Shared<RunningInstance>) -> Bool {
    placements[id]?.isConfigured != true
      || serving.contains {
        $0.id != id && $0.instance.isReady && $0.instance.placement.serves(allOf: instance.placement)
      }
  }

  /// What runs on a cordoned GPU goes on, since nothing could be started in its place.
  private func isCordoned(_ id: InstanceID) -> Bool {
    guard let record = placements[id] else { return false }
    return cordon(on: record.placement) != nil || record.life.placement.flatMap(cordon) != nil
  }

  /// Whether nothing could be started in its place, where it would be the only way to replace it: then it goes on as it
  /// is.
  private func isIrreplaceable(_ id: InstanceID, at now: Instant) -> Bool {
    guard let record = placements[id], record.isConfigured else { return false }
    return record.placement.gpus.contains { failed($0, at: now) != nil || busy($0, at: now) != nil }
  }

  private var isAnyStale: Bool {
    for (id, record) in placements where isStale(record) && !isCordoned(id) { return true }
    return false
  }

  private func isStale(_ id: InstanceID) -> Bool {
    placements[id].map(isStale) ?? false
  }

  private func isStale(_ record: Record) -> Bool {
    guard let instance = record.running else { return false }
    guard record.isConfigured else { return knowsAllPlacements }
    return !instance.unit.specification.hasPrefix(record.placement.specification)
  }

  /// Whether an instance that was started after the change, with what it brought, is ready.
  private var isNewSpecificationProven: Bool {
    serving.contains { id, instance in
      instance.isReady && !isStale(id) && specificationsChangedAt.map { instance.launchedAt >= $0 } ?? true
    }
  }
}
