import OrderedCollections
import PoolCore

/// The GPUs of the world: their memory, other people's programs on them, and what goes wrong with them.
extension PoolSimulation {
  struct GPU: Hashable, Sendable {
    static let memory = 24 << 30
    /// What the models of an instance take on each of its GPUs.
    static let models = 10 << 30

    /// Bytes that other people's programs hold.
    var others = 0
    var trouble: GPUTrouble?
    /// It is in no reading until then.
    var unknownUntil = Instant.zero
    /// What the last instance on it had and is not free yet, until when.
    var lateBytes = 0
    var lateUntil = Instant.zero
    /// One more with each change, so that the end of an earlier one changes nothing.
    var changes = 0
  }

  /// What the supervisor that lives has been told of a GPU.
  struct ToldGPU: Hashable, Sendable {
    var reading: GPUReading
    var at: Instant
    /// Since when each of its readings has said that it is lost.
    var lostSince: Instant?
    /// What was not free yet of what the last instance had.
    var late: Int
  }

  static func index(of uuid: String) -> Int { Int(uuid.dropFirst("GPU-".count)) ?? 0 }

  // MARK: Readings

  /// All GPUs as they are now.
  mutating func readGPUs() {
    guard fleet != nil, settings.readsGPUs else { return }
    let readings = gpus.indices.filter { gpus[$0].unknownUntil <= now }.map(reading)
    var told: [String: ToldGPU] = [:]
    for reading in readings {
      let isLost = reading.trouble == .lost
      let since = isLost ? toldGPUs[reading.uuid]?.lostSince ?? now : nil
      let gpu = gpus[Self.index(of: reading.uuid)]
      told[reading.uuid] = ToldGPU(
        reading: reading, at: now, lostSince: since, late: gpu.lateUntil > now ? gpu.lateBytes : 0)
      switch reading.trouble {
      case .lost, .missing: tellUnits(on: reading.uuid, isLost: true)
      case .needsReset: tellUnits(on: reading.uuid, isLost: false)
      case .missingNode, .unanswered, nil: break
      }
    }
    toldGPUs = told
    apply { $0.gpusRead(readings, at: $1) }
  }

  private func reading(_ index: Int) -> GPUReading {
    let uuid = "GPU-\(index)"
    let gpu = gpus[index]
    let ours = units.filter { _, unit in
      unit.placement.gpus.contains(uuid) && !unit.isDegraded && !unit.memory.models.isEmpty
    }.sorted { $0.key < $1.key }
    var processes = ours.map { id, unit in
      GPUReading.Process(pid: 1, memory: modelSize * unit.memory.models.count, owner: .instance(id))
    }
    let taken = processes.reduce(0) { $0 + ($1.memory ?? 0) }
    if gpu.others > 0 {
      processes.append(.init(pid: 2, memory: gpu.others, owner: .other(command: "training")))
    }
    let late = gpu.lateUntil > now ? gpu.lateBytes : 0
    return GPUReading(
      uuid: uuid, memoryTotal: GPU.memory,
      memoryUsed: min(GPU.memory, gpu.others + late + taken), processes: processes,
      trouble: gpu.trouble)
  }

  /// The supervisor knows from now on that what runs there may be ended.
  private mutating func tellUnits(on uuid: String, isLost: Bool) {
    for (id, unit) in units where unit.placement.gpus.contains(uuid) {
      units[id]?.gpuFailedAt = unit.gpuFailedAt ?? now
      if isLost { units[id]?.isOnLostGPU = true }
    }
  }

  /// From here on a new failure has its time again.
  mutating func noteWellGPUs() {
    for (id, unit) in units where unit.gpuFailedAt != nil {
      let isOut = unit.placement.gpus.contains { fleet?.gpus[$0]?.failure(at: now) != nil }
      if !isOut { units[id]?.gpuWellAt = now }
    }
  }

  /// The same for a unit that comes up, and for a supervisor that begins with what the last one knew.
  mutating func tellFaults() {
    for uuid in stored.faults.keys.sorted() { tellUnits(on: uuid, isLost: false) }
  }

  /// Whether what the unit serves may be cut because of its GPU.
  func mayCutForGPU(_ id: InstanceID, _ invocation: InvocationID) -> Bool {
    guard let unit = units[id], unit.invocation == invocation, let failedAt = unit.gpuFailedAt else { return false }
    return unit.isOnLostGPU || now - failedAt >= settings.fleetLimits.faultDrain
  }

  /// What a unit says of its memory.
  func list(of unit: Unit) -> [LoadedModel] {
    unit.memory.list(
      size: modelSize * max(1, unit.placement.gpus.count), isOnCPU: unit.isDegraded && !unit.placement.gpus.isEmpty)
  }

  /// Of one model on one GPU, in bytes.
  private var modelSize: Int { GPU.models / settings.loadedModels }

  /// What a unit had becomes free somewhat later.
  mutating func leaveMemory(of unit: Unit) {
    guard settings.readsGPUs, !unit.isDegraded else { return }
    for uuid in unit.placement.gpus {
      let index = Self.index(of: uuid)
      gpus[index].lateBytes = GPU.models
      gpus[index].lateUntil = now + random.duration(.zero...Self.longestLate)
    }
  }

  /// The supervisor is about to hear of the end of a unit.
  mutating func noteLeft(_ id: InstanceID, _ invocation: InvocationID) {
    guard let instance = fleet?.placements[id]?.life.instance, instance.unit.invocation == invocation else { return }
    for uuid in instance.placement.gpus {
      let gpu = gpus[Self.index(of: uuid)]
      let knownSince = max(instance.launchedAt, supervisorSince, gpu.unknownUntil)
      // Of a short life it may not be known yet what was in use before.
      toldLeft[uuid] = now - knownSince > Self.longestLate * 2 ? now : nil
    }
  }

  static let longestLate: Duration = .seconds(6)

  // MARK: What happens to them

  mutating func changeGPU() {
    let index = Int.random(in: gpus.indices, using: &random)
    let uuid = "GPU-\(index)"
    gpus[index].changes += 1
    gpus[index].trouble = nil
    gpus[index].others = 0
    switch Int.random(in: 0..<8, using: &random) {
    case 0:
      gpus[index].trouble = random.happens(0.7) ? .lost : .missing
      for (id, unit) in units where unit.placement.gpus.contains(uuid) {
        units[id]?.stalledAt = unit.stalledAt ?? now
      }
    case 1: gpus[index].trouble = random.happens(0.5) ? .missingNode("/dev/nvidia\(index)") : .needsReset
    case 2: gpus[index].trouble = .unanswered("unknown error")
    case 3: hear(GPUFault("XID 48", .resetNeeded), of: uuid)
    case 4: hear(GPUFault("XID 31", .application), of: uuid)
    case 5: gpus[index].unknownUntil = now + random.duration(.zero...(.seconds(40)))
    default: gpus[index].others = Int.random(in: 0...12, using: &random) << 30
    }
    after(.seconds(1)...(.seconds(40)), .gpuRecovers(index, change: gpus[index].changes))
  }

  private mutating func hear(_ fault: GPUFault, of uuid: String) {
    guard fleet != nil else { return }
    if fault.consequence == .resetNeeded { tellUnits(on: uuid, isLost: false) }
    apply { $0.gpuFaulted(uuid, fault, at: $1) }
  }

  mutating func recoverGPU(_ index: Int, change: Int) {
    guard gpus[index].changes == change, !deadGPUs.contains(index) else { return }
    gpus[index].trouble = nil
    gpus[index].others = 0
  }

  /// All is well but with those that stay lost.
  mutating func calmGPUs() {
    for index in gpus.indices {
      gpus[index].changes += 1
      gpus[index].others = 0
      gpus[index].unknownUntil = .zero
      gpus[index].trouble = deadGPUs.contains(index) ? .lost : nil
    }
  }
}
