import OrderedCollections
import PoolCore

/// What is always true of GPUs, and of the one instance that writes the model store.
extension Invariants {
  /// Nothing is started on a GPU that is known to be failed, in use by others, or not free yet.
  ///
  /// - Parameters:
  ///   - told: what the supervisor was told last.
  ///   - faults: GPUs that only an operator brings back.
  ///   - left: when the supervisor heard of the last end on a GPU, where that end says something.
  mutating func ordered(
    start placement: Placement, told: [String: PoolSimulation.ToldGPU], faults: Set<String>, left: [String: Instant],
    _ limits: FleetLimits, at now: Instant
  ) {
    for uuid in placement.gpus {
      if faults.contains(uuid) { note("\(placement.id) was started on \(uuid), which needs a reset") }
      guard let last = told[uuid], now - last.at <= .seconds(30) else { continue }
      if let trouble = last.reading.trouble { note("\(placement.id) was started on \(uuid): \(trouble)") }
      let others = (last.reading.processes ?? []).reduce(0) { sum, process in
        if case .other = process.owner { sum + (process.memory ?? 0) } else { sum }
      }
      if others > limits.busyMemory { note("\(placement.id) was started on \(uuid), of which others have \(others)") }
      guard let left = left[uuid], now - left < limits.settleTime else { continue }
      if last.at < left { note("\(placement.id) was started on \(uuid), which was not read since its last instance") }
      if last.late > limits.busyMemory {
        note("\(placement.id) was started on \(uuid), of which \(last.late) is taken")
      }
    }
  }

  /// What is on a lost GPU is gone soon, and what is on one that needs a reset soon after it had its time.
  mutating func ticked(
    _ units: [InstanceID: PoolSimulation.Unit], told: [String: PoolSimulation.ToldGPU], _ limits: FleetLimits,
    supervisorSince: Instant, at now: Instant
  ) {
    for (id, unit) in units {
      for uuid in unit.placement.gpus {
        guard let lostSince = told[uuid]?.lostSince else { continue }
        if now - max(lostSince, unit.startedAt, supervisorSince) > Self.longestEnd {
          note("\(id) still runs on \(uuid), which is lost")
        }
      }
      if let failedAt = unit.gpuFailedAt,
        now - max(failedAt, unit.gpuWellAt ?? failedAt, unit.startedAt, supervisorSince) > limits.faultDrain
          + Self.longestEnd
      {
        note("\(id) still runs although its GPU has failed")
      }
    }
  }

  /// From the order to end a unit to its end, over slow wires.
  private static let longestEnd: Duration = .seconds(10)

  /// An instance is taken out for the CPU only where it computes there.
  mutating func degraded(_ id: InstanceID, _ unit: PoolSimulation.Unit?, _ instance: Shared<RunningInstance>?) {
    guard let unit, unit.invocation == instance?.unit.invocation, !unit.isDegraded else { return }
    note("\(id) was taken out although it is on its GPU")
  }

  /// Never two instances write the model store, and one does where any can; it has a way out to the network.
  mutating func told(
    _ set: WantedSet, _ fleet: Fleet?, units: [InstanceID: PoolSimulation.Unit], _ limits: FleetLimits
  ) {
    let writers = set.instances.filter { $0.writesStore == true }
    if writers.count > 1 { note("\(writers.map(\.id)) write the model store") }
    if limits.storeRefusal != set.storeRefusal {
      note("the dispatcher is told \(set.storeRefusal ?? "nothing") of the model store")
    }
    if !limits.storeIsOwned, let writer = writers.first { note("\(writer.id) writes a store that is not the pool's") }
    let isFit = set.instances.contains { wanted in
      [.core, .surplus].contains(wanted.role) && fleet?.placements[wanted.id]?.running?.isReady == true
    }
    if limits.storeIsOwned, isFit, writers.isEmpty { note("nobody writes the model store") }
    if let writer = writers.first, limits.networkIsForWriterOnly, let unit = units[writer.id],
      unit.invocation == writer.invocation, !unit.hasNetwork, !unit.hasNetworkTrouble
    {
      note("\(writer.id) writes the model store without a network")
    }
  }

  /// What changes the model store and what leaves the machine need the network, to their end. Where nobody may change
  /// the store, nobody has one.
  mutating func needsNetwork(
    _ id: RequestID, on instance: InstanceID, _ unit: PoolSimulation.Unit, _ limits: FleetLimits
  ) {
    if limits.networkIsForWriterOnly, limits.storeIsOwned, !unit.hasNetwork, !unit.hasNetworkTrouble {
      note("request \(id) needs the network and went to \(instance), which has none")
    }
  }

  mutating func closedNetwork(
    of instance: InstanceID, requests: [RequestID: SimulatedRequest], attempts: [RequestID: PoolSimulation.Attempt]
  ) {
    for (id, attempt) in attempts where attempt.instance == instance && requests[id]?.needsNetwork == true {
      note("\(instance) lost its network, and request \(id) there needs it")
    }
  }
}
