import OrderedCollections

/// What the driver says of the GPUs.
extension Fleet {
  /// All GPUs as they were read just now; one that is not among them is not known.
  package mutating func gpusRead(_ readings: [GPUReading], at now: Instant) -> [FleetAction] {
    let uuids = Set(readings.map(\.uuid))
    let placed = Set(placements.values.flatMap { $0.gpus + $0.placement.gpus })
    gpus.removeAll { uuid, state in !uuids.contains(uuid) && !placed.contains(uuid) && state.fault == nil }
    for uuid in gpus.keys where !uuids.contains(uuid) { gpus[uuid]?.wasNotRead() }
    for reading in readings {
      gpus[reading.uuid, default: GPUState()]
        .take(reading, living: living(on: reading.uuid), limits: limits, at: now)
    }
    for (id, record) in placements { if let instance = record.running { look(for: id, instance, at: now) } }
    return reconcile(at: now)
  }

  /// The driver tells of an error. A GPU that is divided is told of with each of its parts.
  package mutating func gpuFaulted(_ uuid: String, _ fault: GPUFault, at now: Instant) -> [FleetAction] {
    let isOurs = placements.values.contains { ($0.gpus + $0.placement.gpus).contains(uuid) }
    guard isOurs || gpus[uuid] != nil else { return [.report(.gpuEvent(gpu: uuid, fault))] }
    let isNews = gpus[uuid, default: GPUState()].hear(fault, at: now)
    var actions: [FleetAction] = []
    switch fault.consequence {
    // That the GPU is out is told where that is decided.
    case .resetNeeded: break
    case .warning: if isNews { actions.append(.report(.gpuEvent(gpu: uuid, fault))) }
    case .application:
      if isNews { actions.append(.report(.gpuEvent(gpu: uuid, fault))) }
      for (id, record) in placements where record.running?.placement.gpus.contains(uuid) == true {
        if drain(of: id)?.reason.role != .out { actions += takeOut(id, .suspect(fault.text)) }
      }
    }
    return actions + reconcile(at: now)
  }

  /// Faults that outlive a supervisor, since only a reset of the GPU ends them: to be restored unless the machine was
  /// booted meanwhile.
  package var faultsToKeep: [String: GPUFault] {
    gpus.reduce(into: [:]) { kept, gpu in kept[gpu.key] = gpu.value.fault }
  }

  /// How it stands with a GPU, and why.
  package func standing(ofGPU uuid: String, at now: Instant) -> GPUStanding {
    let state = gpus[uuid]
    if let state, let reason = state.failure(at: now) {
      let retryIn = state.fault == nil ? state.troubles.until.map { $0 - now } : nil
      return state.isQuarantined
        ? .quarantined(reason: reason, retryIn: retryIn) : .failed(reason: reason, retryIn: retryIn)
    }
    let trouble = state?.reading(at: now)?.trouble
    if let trouble, trouble.consequence == .none { return .failed(reason: trouble.description, retryIn: nil) }
    let instances = placements.values.filter { $0.life.placement?.gpus.contains(uuid) == true }.map(\.placement.id)
    if !instances.isEmpty { return .ours(instances) }
    if let cordon = cordons[uuid] { return .cordoned(cordon) }
    return busy(uuid, at: now).map { .busy(by: $0) } ?? .free
  }

  // MARK: What follows, at each turn

  /// GPUs that have failed or are back, and those that are left to others.
  mutating func minds(gpusAt now: Instant) -> [FleetAction] {
    var actions: [FleetAction] = []
    for (uuid, var state) in gpus {
      state.forgetOthers(at: now)
      let failure = state.failure(at: now)
      if failure != state.toldFailure {
        let inARow = state.troubles.inARow
        actions.append(
          .report(failure.map { .gpuFailed(gpu: uuid, reason: $0, inARow: inARow) } ?? .gpuBack(gpu: uuid)))
        state.toldFailure = failure
      }
      gpus[uuid] = state
    }
    for (id, record) in placements {
      guard let instance = record.running else { continue }
      actions += leaveFailedGPU(id, instance, at: now) + tellYield(id, instance)
    }
    return actions
  }

  /// Nothing stays on a GPU that is out, however it came there.
  private mutating func leaveFailedGPU(_ id: InstanceID, _ instance: Shared<RunningInstance>, at now: Instant)
    -> [FleetAction]
  {
    for uuid in instance.placement.gpus {
      guard let state = gpus[uuid], let reason = state.failure(at: now),
        let bound = state.bound(at: now, limits: limits)
      else { continue }
      if case .gpuFailed = instance.departure.takenOut?.reason {
        let earlier = instance.departure.takenOut?.deadline ?? bound
        placements[id]?.running?.departure.takenOut?.deadline = min(earlier, bound)
        continue
      }
      return takeOut(id, .gpuFailed("\(uuid): \(reason)"), deadline: bound)
    }
    return []
  }

  /// A drain for others begins and ends with what is read of them.
  private mutating func tellYield(_ id: InstanceID, _ instance: Shared<RunningInstance>) -> [FleetAction] {
    guard instance.departure.isToldToYield || yields(instance) != nil else { return [] }
    let yields = if case .yields = drain(of: id)?.reason { true } else { false }
    guard yields != instance.departure.isToldToYield else { return [] }
    placements[id]?.running?.departure.isToldToYield = yields
    if yields { return reportDrain(of: id) }
    return drain(of: id) == nil ? [.report(.goesOn(id))] : []
  }

  /// To whom the instance leaves one of its GPUs.
  func yields(_ instance: Shared<RunningInstance>) -> String? {
    guard limits.yieldToOthers else { return nil }
    for uuid in instance.placement.gpus { if let others = gpus[uuid]?.leftTo { return others } }
    return nil
  }

  mutating func takeOut(_ id: InstanceID, _ reason: DrainReason, deadline: Instant? = nil) -> [FleetAction] {
    guard placements[id]?.running != nil else { return [] }
    placements[id]?.running?.departure.takenOut = RunningInstance.Departure.TakenOut(reason: reason, deadline: deadline)
    return [.report(.draining(id, reason))]
  }

  /// The instances that are on a GPU, or on their way to it.
  func living(on uuid: String) -> Set<InstanceID> {
    Set(placements.values.lazy.filter { $0.life.placement?.gpus.contains(uuid) == true }.map(\.placement.id))
  }

  // MARK: Really on the GPU

  /// Whether the driver sees it on its GPUs.
  private mutating func look(for id: InstanceID, _ instance: Shared<RunningInstance>, at now: Instant) {
    let readings = instance.placement.gpus.map { gpus[$0]?.reading(at: now) }
    let isSeen = readings.contains { $0?.processes?.contains { $0.owner == .instance(id) } ?? false }
    // Where memory is in use that no process is listed for, or one that can't be named, it may be there all the same.
    let canTell =
      !readings.isEmpty
      && zip(instance.placement.gpus, readings).allSatisfy { uuid, reading in
        guard let reading, let processes = reading.processes, !processes.contains(where: { $0.owner == .unknown }),
          let unlisted = reading.unlistedMemory(living: living(on: uuid))
        else { return false }
        return unlisted - (gpus[uuid]?.baselineMemory ?? 0) <= limits.busyMemory
      }
    if isSeen || !canTell {
      placements[id]?.running?.memory.seen()
    } else {
      placements[id]?.running?.memory.unseen(at: now)
    }
  }

  /// Holds what an instance has said just now against what its GPUs have room for and the driver sees.
  mutating func judge(_ id: InstanceID, at now: Instant) -> [FleetAction] {
    guard !limits.allowCPU, var instance = placements[id]?.running, instance.memory.isInDoubt,
      drain(of: id, instance) == nil, !instance.placement.gpus.isEmpty
    else { return [] }
    let verdict = instance.memory.verdict(
      room: room(of: id, instance, at: now), suspects: suspectModels(before: instance.launchedAt, at: now),
      limits: limits, at: now)
    placements[id]?.running?.memory = instance.memory
    switch verdict {
    case .degraded(let model, let reason):
      degradations += 1
      if let model { suspect(model, at: now) }
      return takeOut(id, .degraded(reason))
    case .fitsByNow(let model, let reason):
      degradations += 1
      // Neighbours that come and go would have it done over and over.
      suspect(model, at: now)
      return takeOut(id, .fitsByNow(reason))
    case .wellBeside(let model, let reason): return [.report(.modelBesideGPU(id, model: model, reason))]
    case nil: return []
    }
  }

  /// For so long a model is suspect that an instance was taken out for.
  private static let suspicion: Duration = .seconds(3600)
  private static let mostSuspects = 64

  private mutating func suspect(_ model: String, at now: Instant) {
    suspectModels = suspectModels.filter { now - $0.value < Self.suspicion }
    if suspectModels.count >= Self.mostSuspects { suspectModels.removeFirst() }
    suspectModels[model] = now
  }

  /// Those for which an instance was taken out before one that was launched then.
  private func suspectModels(before launch: Instant, at now: Instant) -> Set<String> {
    Set(suspectModels.filter { $0.value < launch && now - $0.value < Self.suspicion }.keys)
  }

  private func room(of id: InstanceID, _ instance: Shared<RunningInstance>, at now: Instant) -> InstanceMemory.Room? {
    var room = InstanceMemory.Room(total: 0, taken: 0, readAt: now)
    for uuid in instance.placement.gpus {
      guard let state = gpus[uuid], let reading = state.reading(at: now), let total = reading.memoryTotal,
        let used = reading.memoryUsed, let own = reading.memory(of: id)
      else { return nil }
      room.readAt = min(room.readAt, state.readAt)
      room.total = [room.total, total].sumOfBytes
      // Also what is not listed as anybody's.
      room.taken = [room.taken, max(0, used) - min(max(0, used), own)].sumOfBytes
    }
    return room
  }

  /// What is worth knowing of an instance that goes on; nil where nothing is.
  package func note(on id: InstanceID, at now: Instant) -> String? {
    guard let instance = placements[id]?.running else { return nil }
    let models = instance.memory.notes.map { "\($0.model) \($0.reason)" }
    let neighbours = instance.placement.gpus.compactMap { uuid in
      busy(uuid, at: now).map { StartObstacle.busy(gpu: uuid, by: $0).description }
    }
    let notes = models + neighbours
    return notes.isEmpty ? nil : notes.joined(separator: "; ")
  }
}

/// How it stands with a GPU.
package enum GPUStanding: Hashable, Sendable, CustomStringConvertible {
  case free
  case ours([InstanceID])
  case busy(by: [GPUReading.Process])
  case cordoned(Cordon)
  /// Out while there is a reason, and for so much longer once it is over; nil: it is not over.
  case failed(reason: String, retryIn: Duration?)
  /// The same, or out until an operator says otherwise.
  case quarantined(reason: String, retryIn: Duration?)

  package var description: String {
    switch self {
    case .free: "free"
    case .ours(let ids): ids.map(\.name).joined(separator: ", ")
    case .busy(let processes): processes.isEmpty ? "others" : processes.map(\.description).joined(separator: ", ")
    case .cordoned(let cordon): cordon.reason
    case .failed(let reason, _), .quarantined(let reason, _): reason
    }
  }
}
