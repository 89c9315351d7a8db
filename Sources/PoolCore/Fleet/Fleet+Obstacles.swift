import OrderedCollections

/// What stands against a start: looked at before each, from what is known of the GPUs.
extension Fleet {
  /// What stands against a start in a placement; nil where nothing does, and while something runs there.
  package func obstacle(against id: InstanceID, at now: Instant) -> StartObstacle? {
    placements[id].flatMap { obstacle(against: $0, at: now) }
  }

  private func obstacle(against record: Record, at now: Instant) -> StartObstacle? {
    if record.life.hasUnit { return nil }
    let uuids = record.placement.gpus
    // In loops, here and elsewhere that is looked at with each change of the queue: a closure would copy all that is
    // known.
    for uuid in uuids { if let failure = failed(uuid, at: now) { return failure } }
    for uuid in uuids { if let others = busy(uuid, at: now) { return .busy(gpu: uuid, by: others) } }
    for uuid in uuids where isSettling(uuid, at: now) { return .settling(gpu: uuid) }
    return lackOfRoom(for: record, at: now)
  }

  func failed(_ uuid: String, at now: Instant) -> StartObstacle? {
    guard let state = gpus[uuid] else { return nil }
    if let reason = state.failure(at: now) {
      return state.isQuarantined ? .quarantined(gpu: uuid, reason: reason) : .failed(gpu: uuid, reason: reason)
    }
    return state.reading(at: now)?.trouble.map { .failed(gpu: uuid, reason: $0.description) }
  }

  /// The others who use a GPU beyond what counts as free, the largest first; none of them may be there any more where
  /// the GPU is still left to them. nil where nobody does.
  func busy(_ uuid: String, at now: Instant) -> [GPUReading.Process]? {
    guard let state = gpus[uuid], let reading = state.reading(at: now) else { return nil }
    let others = reading.others(beside: living(on: uuid))
    if others.map({ $0.memory ?? 0 }).sumOfBytes > limits.busyMemory { return others }
    return limits.yieldToOthers && state.leftTo != nil ? [] : nil
  }

  private func isSettling(_ uuid: String, at now: Instant) -> Bool {
    gpus[uuid]?.isSettling(living: living(on: uuid), limits: limits, at: now) ?? false
  }

  private func lackOfRoom(for record: Record, at now: Instant) -> StartObstacle? {
    var (total, free) = (0, 0)
    for uuid in record.placement.gpus {
      guard let reading = gpus[uuid]?.reading(at: now), let here = reading.freeMemory else { return nil }
      total = [total, reading.memoryTotal ?? 0].sumOfBytes
      free = [free, here].sumOfBytes
    }
    let promised = record.placement.isShared ? promised(besides: record, at: now) : 0
    let left = free - min(free, promised)
    guard let needed = neededMemory(of: record, total: total), needed > left else { return nil }
    return .noRoom(needed: needed, free: left)
  }

  /// What is configured, or what the models of the last life there took. Where there was none yet, the most that they
  /// took in a placement of as many GPUs, unless these could never hold it: that would say nothing about them. GPUs
  /// that nobody uses are always enough: what Ollama says of its models may be more than they had.
  private func neededMemory(of record: Record, total: Int) -> Int? {
    if let needed = record.placement.neededMemory { return needed }
    let elsewhere = placements.values.lazy.filter { $0.placement.gpus.count == record.placement.gpus.count }
      .compactMap(\.history.lastLoad).max()
    let taken = record.history.lastLoad ?? elsewhere.flatMap { $0 <= total ? $0 : nil }
    return taken.map { min($0, total - min(total, InstanceMemory.reserve(of: total))) }
  }

  /// Bytes of the placement's GPUs that neighbours on them will still take: what is configured for them, or, while they
  /// start, what their last life took.
  private func promised(besides record: Record, at now: Instant) -> Int {
    placements.values.map { other in
      guard other.placement.id != record.placement.id, let held = other.life.placement else { return 0 }
      let shared = held.gpus.filter(record.placement.gpus.contains)
      let isStarting = other.running?.isStarting ?? (other.life.instance == nil)
      guard !shared.isEmpty, let needed = held.neededMemory ?? (isStarting ? other.history.lastLoad : nil) else {
        return 0
      }
      let taken = shared.compactMap { gpus[$0]?.reading(at: now)?.memory(of: other.placement.id) }
      let here = max(0, needed) / held.gpus.count * shared.count
      return here - min(here, taken.isEmpty ? other.running?.memory.onGPU ?? 0 : taken.sumOfBytes)
    }.sumOfBytes
  }

  /// Whether an instance can be started there, or goes on: that memory is still to become free takes only a moment.
  func canRun(_ record: Record, at now: Instant) -> Bool {
    switch record.life {
    case .absent:
      guard isPlaceable(record) else { return false }
      let kind = obstacle(against: record, at: now)?.kind
      return kind == nil || kind == .settling
    case .stopping(_, .gpuFailed), .stopping(_, .drained(.yields)): return false
    case .launching, .running, .stopping:
      if let instance = record.running, let drain = drain(of: record.placement.id, instance) {
        switch drain.reason {
        case .gpuFailed, .yields: return false
        default: break
        }
      }
      return record.isConfigured || !knowsAllPlacements
    }
  }

  /// Tells of an obstacle to a start that is wanted, once until it is another one.
  mutating func hold(_ id: InstanceID, _ obstacle: StartObstacle, at now: Instant) -> [FleetAction] {
    placements[id]?.history.obstacles.isNews(obstacle.kind, at: now) == true ? [.report(.startHeld(id, obstacle))] : []
  }
}
