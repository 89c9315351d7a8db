import OrderedCollections

extension Dispatch {
  /// The whole wanted set; what is absent is deregistered. Idempotent.
  ///
  /// - Parameter session: the control session that speaks. A retirement holds in the session that ordered it: a new
  ///   supervisor that wants the instance again gets it back into rotation, for it would stop it only after a
  ///   retirement of its own, and a unit that is being stopped is never in its set.
  package mutating func setInstances(_ set: WantedSet, session: UInt64, at now: Instant) -> [DispatchAction] {
    let wanted = set.instances
    storeRefusal = set.storeRefusal
    servedModels = set.models
    awaitingTurn = (set.awaitingTurn, session)
    var actions = refuseWaitingWriters(at: now) + refuseUnserved(at: now)
    revision += 1
    let keep = Dictionary(wanted.map { ($0.id, $0.invocation) }) { first, _ in first }
    for (id, instance) in instances where keep[id] != instance.wanted.invocation {
      let (evicted, cut, back) = evict(id, at: now)
      instances[id] = nil
      actions += evicted + [.report(.instanceDeregistered(id, interrupted: cut, putBack: back))]
    }
    order.pools = Pools(wanted.filter { [.core, .surplus].contains($0.role) }.map(\.models))
    usualSlots = wanted.map(\.slots).max() ?? usualSlots
    for want in wanted where keep[want.id] == want.invocation {
      if instances[want.id] != nil {
        instances[want.id]?.wanted = want
        if instances[want.id]?.retiredBy != session { instances[want.id]?.retiredBy = nil }
      } else {
        var instance = DispatchedInstance(wanted: want, registeredAt: now, idleSince: now)
        instance.probe.due = now
        instance.toLoad = limits.preload.filter { instance.serves(Self.key(ofPreload: $0)) }
        instances[want.id] = instance
        actions.append(.report(.instanceRegistered(want.id)))
      }
    }
    // The supervisor's order is oldest first; the choice among equals follows it.
    let rank = Dictionary(wanted.enumerated().map { ($1.id, $0) }) { first, _ in first }
    instances.sort { rank[$0.key, default: .max] < rank[$1.key, default: .max] }
    return actions + loadsInTurn(at: now) + probesDue(at: now) + assignFreeSlots(at: now) + reportIfDrained()
  }

  /// A control session has ended. What only it knew holds no load up any more; the instances stay.
  package mutating func sessionEnded(_ session: UInt64, at now: Instant) -> [DispatchAction] {
    guard awaitingTurn.session == session, !awaitingTurn.models.isEmpty else { return [] }
    awaitingTurn.models = []
    return loadsInTurn(at: now)
  }

  package enum RetireAnswer: String, Hashable, Sendable {
    /// It holds no lease and no reference, and never gets work again in this session.
    case retired
    /// It holds some; nothing was changed.
    case busy
    /// No instance of this name and invocation.
    case unknown
  }

  /// Atomic: either the instance holds nothing and gets nothing any more, or nothing changes.
  ///
  /// - Returns: the answer, and the actions that follow: a request waits for an instance that has not failed it only
  ///   while there is one, and this may have been the last.
  package mutating func retire(
    _ id: InstanceID, _ invocation: InvocationID, session: UInt64, at now: Instant
  ) -> (answer: RetireAnswer, actions: [DispatchAction]) {
    guard let instance = instances[id], instance.wanted.invocation == invocation else { return (.unknown, []) }
    guard instance.isIdle else { return (.busy, []) }
    instances[id]?.retiredBy = session
    revision += 1
    return (.retired, assignFreeSlots(at: now))
  }
}
