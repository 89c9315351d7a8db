import OrderedCollections

extension Dispatch {
  /// How a probe of an instance ended.
  package enum ProbeResult: Hashable, Sendable {
    /// A 200.
    case answered
    /// No connection, no answer in time, or another status.
    case missed
  }

  /// Time has passed: probes fall due, limits run out.
  ///
  /// - Parameter lastProgress: when the stream of a request last moved, or the client last held it back; nil where
  ///   nothing is known, which is then counted from the stream's beginning.
  package mutating func tick(at now: Instant, lastProgress: (RequestID) -> Instant?) -> [DispatchAction] {
    var actions = expire(at: now)
    for id in instances.keys {
      if let reason = overrun(of: id, at: now, lastProgress) { actions += becameUnhealthy(id, reason, at: now) }
      guard let instance = instances[id], !instance.probe.isOutstanding, instance.probe.due <= now else { continue }
      instances[id]?.probe.isOutstanding = true
      actions.append(.probe(id, instance.wanted.invocation))
    }
    return actions + assignFreeSlots(at: now) + reportIfDrained()
  }

  /// When `tick` has something to do at the latest. Streams are looked at each second.
  package func nextTick(at now: Instant) -> Instant {
    let probes = instances.values.filter { !$0.probe.isOutstanding }.map(\.probe.due)
    let second = now + .seconds(1)
    return max(now, min(second, probes.min() ?? second))
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
      instances[id]?.brokenAttempts = 0
      instances[id]?.health = instance.readyAt == nil ? .starting : .healthy
      return [.report(.instanceRecovered(id))] + (instance.readyAt == nil ? loadNext(id, at: now) : [])
        + assignFreeSlots(at: now)
    case (.healthy, .missed) where instance.probe.missed >= limits.probeFailures,
      (.starting, .missed) where instance.firstAnswerAt != nil && instance.probe.missed >= limits.probeFailures:
      return becameUnhealthy(id, .unreachable(missedProbes: instance.probe.missed), at: now)
        + assignFreeSlots(at: now)
    case (.starting, .missed), (.healthy, _), (.unhealthy, _):
      return []
    }
  }

  /// The answer to `.load`; `failure` is nil when the model is there.
  package mutating func loadEnded(
    _ id: InstanceID, _ invocation: InvocationID, model: String, failure: String?, at now: Instant
  ) -> [DispatchAction] {
    guard let instance = instances[id], instance.wanted.invocation == invocation, instance.isLoading else { return [] }
    instances[id]?.isLoading = false
    if let failure {
      return becameUnhealthy(id, .loadFailed(model: model, message: failure), at: now) + assignFreeSlots(at: now)
    }
    instances[id]?.toLoad.removeAll { $0 == model }
    return loadNext(id, at: now)
  }

  /// Loads the next model under `preload`, or makes the instance healthy when there is none left.
  private mutating func loadNext(_ id: InstanceID, at now: Instant) -> [DispatchAction] {
    guard let instance = instances[id], case .starting = instance.health, !instance.isLoading else { return [] }
    if let model = instance.toLoad.first {
      instances[id]?.isLoading = true
      return [.load(id, instance.wanted.invocation, model: model)]
    }
    revision += 1
    instances[id]?.health = .healthy
    instances[id]?.readyAt = now
    instances[id]?.idleSince = now
    return [.report(.instanceReady(id, after: now - instance.registeredAt))] + assignFreeSlots(at: now)
  }

  mutating func becameUnhealthy(_ id: InstanceID, _ reason: UnhealthyReason, at now: Instant) -> [DispatchAction] {
    guard let instance = instances[id] else { return [] }
    if case .unhealthy(let known, _) = instance.health, known.isFinal || !reason.isFinal { return [] }
    revision += 1
    instances[id]?.health = .unhealthy(reason, since: now)
    instances[id]?.probe.due = min(instance.probe.due, now + limits.probeInterval)
    let (actions, cut, back) = evict(id, at: now)
    return actions + [.report(.instanceUnhealthy(id, reason, interrupted: cut, putBack: back))]
  }

  /// Whether a request of this instance has gone without a byte for too long.
  private func overrun(
    of id: InstanceID, at now: Instant, _ lastProgress: (RequestID) -> Instant?
  ) -> UnhealthyReason? {
    guard let instance = instances[id] else { return nil }
    for lease in instance.leases {
      guard case .assigned(_, _, let since, let begun) = requests[lease]?.phase else { continue }
      if let begun {
        let moved = max(begun, lastProgress(lease) ?? begun)
        if now - moved >= limits.stallTimeout { return .stalled(limits.stallTimeout) }
      } else if now - since >= limits.firstByteLimit {
        return .silent(limits.firstByteLimit)
      }
    }
    return nil
  }

  /// Ends what waited longer than the configured maximum, and at the drain's deadline all that still runs.
  mutating func expire(at now: Instant) -> [DispatchAction] {
    var actions: [DispatchAction] = []
    if let limit = limits.maximumWait {
      // The order of service is the order of arrival, so the longest wait stands first.
      while let id = queue.first, let record = requests[id], now - record.arrivedAt >= limit {
        forget(id, .expired, at: now)
        actions.append(.end(id, .expired))
      }
    }
    if let drainDeadline, drainDeadline <= now {
      for id in requests.keys.sorted() {
        forget(id, .failed(.shuttingDown), at: now)
        actions.append(.end(id, .failed(.shuttingDown)))
      }
    }
    return actions
  }
}
