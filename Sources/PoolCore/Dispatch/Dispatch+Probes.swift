import OrderedCollections

/// Whether an instance answers, and has its models.
extension Dispatch {
  /// How a probe of an instance ended.
  package enum ProbeResult: Hashable, Sendable {
    /// A 200.
    case answered
    /// No connection, no answer in time, or another status.
    case missed
  }

  mutating func probesDue(at now: Instant) -> [DispatchAction] {
    var actions: [DispatchAction] = []
    for place in instances.values.indices {
      let probe = instances.values[place].probe
      guard !probe.isOutstanding, probe.due <= now else { continue }
      instances.values[place].probe.isOutstanding = true
      actions.append(.probe(instances.keys[place], instances.values[place].wanted.invocation))
    }
    return actions
  }

  /// The answer to `.probe`.
  package mutating func probeEnded(
    _ id: InstanceID, _ invocation: InvocationID, _ result: ProbeResult, at now: Instant
  ) -> [DispatchAction] {
    guard var instance = instances[id], instance.wanted.invocation == invocation else { return [] }
    instance.probe.isOutstanding = false
    switch result {
    case .answered:
      instance.probe.missed = 0
      instance.probe.due = now + limits.probeInterval
    case .missed:
      instance.probe.missed += 1
      let waitsForFirst = instance.firstAnswerAt == nil
      // What answers the first probe ran before this dispatcher did.
      if waitsForFirst { instance.isColdStart = true }
      instance.probe.due = now + (waitsForFirst ? limits.startingProbeInterval : limits.probeInterval)
    }
    instances[id] = instance

    switch (instance.health, result) {
    case (.starting, .answered):
      guard instance.firstAnswerAt == nil else { return [] }
      instances[id]?.firstAnswerAt = now
      revision += 1
      let report = DispatchAction.report(.instanceAnswered(id, after: now - instance.registeredAt))
      return [report] + loadNext(id, at: now)
    case (.unhealthy(let reason, _), .answered) where !reason.isFinal:
      revision += 1
      instances[id]?.failures = DispatchedInstance.Failures(since: now)
      instances[id]?.health = instance.readyAt == nil ? .starting : .healthy
      return [.report(.instanceRecovered(id))]
        + (instance.readyAt == nil ? loadNext(id, at: now) : askLoaded(id, at: now)) + assignFreeSlots(at: now)
    case (.healthy, .missed) where instance.probe.missed >= limits.probeFailures,
      (.starting, .missed) where instance.firstAnswerAt != nil && instance.probe.missed >= limits.probeFailures:
      return becameUnhealthy(id, .unreachable(missedProbes: instance.probe.missed), at: now)
        + assignFreeSlots(at: now)
    case (.unhealthy(let reason, _), .missed)
    where reason.consequence == .finish && instance.probe.missed >= limits.probeFailures && !instance.isIdle:
      // What it was to finish it does not finish any more.
      revision += 1
      return evict(id, at: now).actions + assignFreeSlots(at: now)
    case (.starting, .missed), (.healthy, _), (.unhealthy, _):
      return []
    }
  }

  /// The answer to `.load`; `failure` is nil when the model is there.
  package mutating func loadEnded(
    _ id: InstanceID, _ invocation: InvocationID, model: String, failure: String?, at now: Instant
  ) -> [DispatchAction] {
    guard let instance = instances[id], instance.wanted.invocation == invocation, instance.loading == model else {
      return []
    }
    instances[id]?.loading = nil
    if instance.readyAt == nil, failure == nil, let since = instance.loadingSince {
      instances[id]?.loads.append(TimedLoad(model: Self.key(ofPreload: model), duration: now - since))
    }
    if instance.readyAt != nil { return loadedAgain(id, model: model, failure: failure, at: now) }
    if let failure {
      return becameUnhealthy(id, .loadFailed(model: model, message: failure), at: now) + assignFreeSlots(at: now)
    }
    preloaded(id, model, at: now)
    instances[id]?.toLoad.removeAll { $0 == model }
    return loadNext(id, at: now)
  }

  /// Loads whose turn at the disk may have come.
  mutating func loadsInTurn(at now: Instant) -> [DispatchAction] {
    let waiting = instances.filter {
      $0.value.firstAnswerAt != nil && $0.value.readyAt == nil && $0.value.loading == nil
    }
    return waiting.keys.flatMap { loadNext($0, at: now) }
  }

  /// Loads the next model under `preload`, or makes the instance healthy when there is none left.
  private mutating func loadNext(_ id: InstanceID, at now: Instant) -> [DispatchAction] {
    guard let instance = instances[id], case .starting = instance.health, instance.loading == nil else { return [] }
    if !instance.toLoad.isEmpty {
      let next = instance.toLoad.first { !awaitingTurn.models.contains(Self.key(ofPreload: $0)) }
      guard let model = next else { return [] }
      instances[id]?.loading = model
      instances[id]?.loadingSince = now
      return [.load(id, instance.wanted.invocation, model: model)]
    }
    revision += 1
    instances[id]?.health = .healthy
    instances[id]?.readyAt = now
    if instance.isColdStart { coldStarts.add(now - instance.registeredAt) }
    instances[id]?.idleSince = now
    return [.report(.instanceReady(id, after: now - instance.registeredAt))] + askLoaded(id, at: now)
      + assignFreeSlots(at: now)
  }
}
