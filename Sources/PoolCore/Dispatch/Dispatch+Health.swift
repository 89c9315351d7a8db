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
  /// - Parameter lastProgress: when a request last moved, in either direction, or its client last held it back; nil
  ///   where there was nothing yet.
  package mutating func tick(at now: Instant, lastProgress: (RequestID) -> Instant?) -> [DispatchAction] {
    var actions = expire(at: now)
    for id in instances.keys { actions += overruns(of: id, at: now, lastProgress) }
    return actions + probesDue(at: now) + assignFreeSlots(at: now) + reportIfDrained()
  }

  mutating func probesDue(at now: Instant) -> [DispatchAction] {
    var actions: [DispatchAction] = []
    for (id, instance) in instances where !instance.probe.isOutstanding && instance.probe.due <= now {
      instances[id]?.probe.isOutstanding = true
      actions.append(.probe(id, instance.wanted.invocation))
    }
    return actions
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

  /// What follows from requests of this instance that have gone without a byte for too long.
  private mutating func overruns(
    of id: InstanceID, at now: Instant, _ lastProgress: (RequestID) -> Instant?
  ) -> [DispatchAction] {
    guard let instance = instances[id] else { return [] }
    var actions: [DispatchAction] = []
    var fault: UnhealthyReason?
    for request in instance.leases.union(instance.references).sorted() {
      guard let record = requests[request], case .assigned(_, _, let since, let begun) = record.phase else { continue }
      let idle = now - max(since, begun ?? since, lastProgress(request) ?? since)
      let isInference = record.request.need == .slot
      if begun != nil {
        if isInference, idle >= limits.stallTimeout { fault = .stalled(limits.stallTimeout) }
        continue
      }
      guard idle >= limits.firstByteLimit else { continue }
      // Not put back: it would do the same to the next instance.
      forget(request, .failed(.noAnswer), at: now)
      actions.append(.end(request, .failed(.noAnswer)))
      guard isInference else { continue }
      if record.request.streams {
        fault = .silent(limits.firstByteLimit)
      } else {
        // Its first byte is its last: it may just have been long.
        actions += erred(id, instance.wanted.invocation, at: now)
      }
    }
    return actions + (fault.map { becameUnhealthy(id, $0, at: now) } ?? [])
  }

  /// An instance failed a request that was none the worse for it.
  mutating func erred(_ id: InstanceID, _ invocation: InvocationID, at now: Instant) -> [DispatchAction] {
    guard instances[id]?.wanted.invocation == invocation else { return [] }
    instances[id]?.errors += 1
    guard let errors = instances[id]?.errors, errors >= limits.brokenAttempts else { return [] }
    return becameUnhealthy(id, .erring(requests: errors), at: now)
  }

  /// Ends what waited longer than the configured maximum, and at the drain's deadline all that still runs.
  mutating func expire(at now: Instant) -> [DispatchAction] {
    var actions: [DispatchAction] = []
    if let limit = limits.maximumWait {
      for line in [\Self.queue, \Self.callers] {
        for id in overdue(in: self[keyPath: line], limit, at: now) {
          forget(id, .expired, at: now)
          actions.append(.end(id, .expired))
        }
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

  /// What was put back stands where it arrived and waits anew, so the walk goes past it: to the first that has not even
  /// been here for so long, since those behind it came later.
  private func overdue(in line: WaitingLine, _ limit: Duration, at now: Instant) -> [RequestID] {
    var overdue: [RequestID] = []
    for rank in 0..<line.count {
      guard let id = line[rank], let record = requests[id], now - record.arrivedAt >= limit else { break }
      if case .waiting(let since) = record.phase, now - since >= limit { overdue.append(id) }
    }
    return overdue
  }
}
