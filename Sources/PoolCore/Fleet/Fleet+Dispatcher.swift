import OrderedCollections

/// What the dispatcher says.
extension Fleet {
  package mutating func dispatcherConnected(at now: Instant) -> [FleetAction] {
    isConnected = true
    toldSet = nil
    for id in placements.keys {
      placements[id]?.running?.isMeasurable = false
      // What another dispatcher, or this one before, had seen of it.
      placements[id]?.running?.leases = 0
      placements[id]?.running?.references = 0
      placements[id]?.running?.writes = 0
      placements[id]?.running?.idle = nil
      placements[id]?.running?.isCounted = false
      placements[id]?.running?.memory.say(nil, at: now)
      if placements[id]?.running?.isStarting == true { placements[id]?.running?.standing = .starting(since: now) }
    }
    scaler.assumeNeeded(serving.count, at: now)
    return [.report(.dispatcherFound)] + reconcile(at: now)
  }

  package mutating func dispatcherLost(at now: Instant) -> [FleetAction] {
    guard isConnected else { return [] }
    isConnected = false
    observation = nil
    for id in placements.keys {
      placements[id]?.running?.departure.retiring = nil
      // The next dispatcher knows nothing of its faults, and judges it anew.
      if case .unhealthy = placements[id]?.running?.standing {
        placements[id]?.running?.standing = .starting(since: now)
      }
    }
    return [.report(.dispatcherLost)] + reconcile(at: now)
  }

  package mutating func observed(_ observation: QueueObservation, at now: Instant) -> [FleetAction] {
    guard isConnected else { return [] }
    self.observation = observation
    let slots = placements.values.lazy.filter(\.isConfigured).map(\.placement.slots).min() ?? 1
    scaler.observed(demand: observation.demand, slots: slots, at: now)
    var actions: [FleetAction] = []
    for seen in observation.instances { actions += observed(seen, at: now) + judge(seen.id, at: now) }
    return actions + reconcile(at: now)
  }

  private mutating func observed(_ seen: InstanceObservation, at now: Instant) -> [FleetAction] {
    guard let place = placements.index(forKey: seen.id), let running = placements.values[place].running,
      running.unit.invocation == seen.invocation
    else { return [] }
    var instance = running.wrappedValue
    instance.leases = seen.leases
    instance.references = seen.references
    instance.writes = seen.writes
    instance.idle = seen.idle
    instance.isCounted = true
    instance.memory.say(seen.loaded, at: now)
    var actions: [FleetAction] = []
    switch (instance.standing, seen.health) {
    case (.ready(let since), .healthy):
      // What was taken out proves nothing any more.
      if now - since >= limits.restarts.steadyAfter, instance.departure.takenOut == nil,
        placements.values[place].history.restarts.failures > 0
      {
        placements.values[place].history.restarts.reset()
      }
    case (_, .healthy):
      instance.standing = .ready(since: now)
      if awaitsRestart(seen.id) { orders[seen.id] = nil }
      if instance.isColdStart {
        instance.isColdStart = false
        let total = now - instance.launchedAt
        let start = ColdStart(
          total: total, unit: (instance.ranAt ?? instance.launchedAt) - instance.launchedAt,
          discovery: seen.firstAnswerAfter, loads: seen.loads)
        actions.append(.report(.ready(seen.id, start)))
        if instance.isMeasurable {
          scaler.measured(coldStart: total)
          placements.values[place].history.startTimes.add(start)
        }
      }
    case (.starting, .starting): break
    case (_, .starting): instance.standing = .starting(since: now)
    case (_, .unhealthy(let reason, let isFinal, let since)):
      instance.standing = .unhealthy(reason: reason)
      if isFinal, instance.isEmpty {
        // What the dispatcher had left to it, it has finished, and it gets nothing new: it needs no retirement.
        return stop(seen.id, Shared(wrappedValue: instance), .unhealthy(reason), at: now)
      }
      if !isFinal, since >= limits.unhealthyGrace, !instance.isRetiring {
        // It may have recovered meanwhile, and have a request again.
        placements.values[place].running = Shared(wrappedValue: instance)
        return retire(seen.id, Shared(wrappedValue: instance), .unhealthy(reason))
      }
    }
    placements.values[place].running = Shared(wrappedValue: instance)
    return actions
  }

  /// The answer to `.retire`, given on the present connection.
  package mutating func retireAnswered(
    _ id: InstanceID, _ invocation: InvocationID, _ answer: Dispatch.RetireAnswer, at now: Instant
  ) -> [FleetAction] {
    guard isConnected, var instance = placements[id]?.running, instance.unit.invocation == invocation,
      let reason = instance.departure.retiring
    else { return [] }
    instance.departure.retiring = nil
    placements[id]?.running = instance
    switch answer {
    case .retired:
      let because = reason.isFault ? reason : drain(of: id)?.reason.stopReason ?? reason
      return stop(id, instance, because, at: now) + reconcile(at: now)
    case .busy:
      placements[id]?.running?.idle = nil
      placements[id]?.running?.leases = max(1, instance.leases)
      placements[id]?.running?.isCounted = false
      return []
    case .unknown:
      // It does not know the present set: tell it again, and ask again at its next word.
      toldSet = nil
      return tellDispatcher(at: now)
    }
  }
}
