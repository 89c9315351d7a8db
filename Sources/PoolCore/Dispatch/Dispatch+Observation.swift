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

  /// Requests that want a slot or have one. What wants none wants an instance: one is enough, however many there are.
  var slotDemand: Int { max(queue.count + inFlight, depth > 0 ? 1 : 0) }

  /// The longest present wait; what a request that was put back waited or was served before doesn't count.
  package func oldestWait(at now: Instant) -> Duration? {
    if depth == 0 { return nil }
    return [queue, callers, writers, leavers].compactMap(longestWaiting).min().map { now - $0 }
  }

  /// Since when the one that waits longest has waited: behind the first that has waited since it came all came later.
  private func longestWaiting(in line: WaitingLine) -> Instant? {
    var earliest: Instant?
    for rank in 0..<line.count {
      guard let id = line[rank], let record = requests[id], case .waiting(let since) = record.phase else { break }
      earliest = min(earliest ?? since, since)
      if since <= record.arrivedAt { break }
    }
    return earliest
  }

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
    observation.instances = instances.values.map { $0.observation(writes: writes(on: $0).count, at: now) }
    return observation
  }

  /// So many of the models in `demand`: those that wait and that nothing in rotation serves first, since an instance
  /// may have to be started for them; then those with the most requests.
  package func mostPressingModels(_ count: Int) -> [String] {
    func rank(_ model: String, _ demand: Demand) -> (Int, Int, String) {
      let isStranded = demand.waiting > 0 && !instances.values.contains { $0.isInRotation && $0.serves(model) }
      return (isStranded ? 0 : 1, -(demand.waiting + demand.inFlight), model)
    }
    return demand.map { rank($0.key, $0.value) }.sorted(by: <).prefix(count).map(\.2)
  }

  /// Requests that change the model store through an instance now.
  func writes(on instance: DispatchedInstance) -> [RequestID] {
    instance.references.filter { requests[$0]?.request.need == .storeReference }
  }

  /// Forgets the peak: call it when an observation has been pushed. Where the peak is over already, that is news for
  /// the next one.
  package mutating func startNewPeak() {
    if peakDemand > slotDemand { revision += 1 }
    peakDemand = slotDemand
  }
}

extension DispatchedInstance {
  func observation(writes: Int, at now: Instant) -> InstanceObservation {
    let health: InstanceObservation.Health =
      switch self.health {
      case .starting: .starting
      case .healthy: .healthy
      case .unhealthy(let reason, let since):
        .unhealthy(reason: reason.description, isFinal: reason.isFinal, since: now - since)
      }
    return InstanceObservation(
      id: wanted.id, invocation: wanted.invocation, health: health, leases: leases.count,
      references: references.count, writes: writes, idle: isIdle ? now - idleSince : nil, isRetired: retiredBy != nil,
      firstAnswerAfter: firstAnswerAfter, readyAfter: readyAt.map { $0 - registeredAt },
      loads: loads, loaded: loaded)
  }
}
