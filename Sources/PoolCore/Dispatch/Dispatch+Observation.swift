import OrderedCollections

extension Dispatch {
  /// Leases of all instances: requests that are being served and hold a slot.
  package var inFlight: Int { instances.values.reduce(0) { $0 + $1.leases.count } }

  /// The sum of the slots of the live healthy instances. What drains, was retired or is unhealthy doesn't count.
  package var maxConcurrent: Int {
    instances.values.reduce(0) { $0 + ($1.isInRotation ? $1.wanted.slots : 0) }
  }

  /// Requests that wait.
  package var depth: Int { queue.count + callers.count + writers.count + leavers.count }

  /// The longest present wait; what a request that was put back waited or was served before doesn't count.
  package func oldestWait(at now: Instant) -> Duration? {
    [queue, callers, writers, leavers].compactMap(longestWaiting).min().map { now - $0 }
  }

  /// Since when the one that waits longest has waited: behind the first that was never put back all came later.
  private func longestWaiting(in line: WaitingLine) -> Instant? {
    var earliest: Instant?
    for rank in 0..<line.count {
      guard let id = line[rank], let record = requests[id], case .waiting(let since) = record.phase else { break }
      earliest = min(earliest ?? since, since)
      if record.firstAssignedAt == nil { break }
    }
    return earliest
  }

  /// The place of a waiting request in the order of service, from 1; nil if it does not wait for a slot.
  package func placeInQueue(_ id: RequestID) -> Int? { queue.ahead(of: id).map { $0 + 1 } }

  package func observation(at now: Instant) -> QueueObservation {
    var observation = QueueObservation()
    observation.depth = depth
    observation.oldestWait = oldestWait(at: now)
    observation.inFlight = inFlight
    observation.peakDemand = peakDemand
    observation.arrivals = totals.arrivals
    observation.completions = totals.completions
    observation.maxConcurrent = maxConcurrent
    observation.waitingByModel = demand.compactMapValues { $0.waiting > 0 ? $0.waiting : nil }
    observation.isDraining = drainDeadline != nil
    observation.instances = instances.values.map { $0.observation(at: now) }
    return observation
  }

  /// Forgets the peak: call it when an observation has been pushed. Where the peak is over already, that is news for
  /// the next one.
  package mutating func startNewPeak() {
    let demand = depth + inFlight
    if peakDemand > demand { revision += 1 }
    peakDemand = demand
  }
}

extension DispatchedInstance {
  func observation(at now: Instant) -> InstanceObservation {
    let health: InstanceObservation.Health =
      switch self.health {
      case .starting: .starting
      case .healthy: .healthy
      case .unhealthy(let reason, let since):
        .unhealthy(reason: reason.description, isFinal: reason.isFinal, since: now - since)
      }
    return InstanceObservation(
      id: wanted.id, invocation: wanted.invocation, health: health, leases: leases.count,
      references: references.count, idle: isIdle ? now - idleSince : nil, isRetired: retiredBy != nil,
      firstAnswerAfter: firstAnswerAt.map { $0 - registeredAt }, readyAfter: readyAt.map { $0 - registeredAt },
      loaded: loaded)
  }
}
