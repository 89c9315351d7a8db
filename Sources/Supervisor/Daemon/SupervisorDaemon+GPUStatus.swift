import ControlInterface
import GPUInventory
import Launching
import OrderedCollections
import PoolCore

/// The GPUs, for whoever asks.
extension SupervisorDaemon {
  func gpus(_ inventory: Inventory) -> [SupervisorTypes.GPU] {
    let now = MonotonicClock.now
    let inventory = plan.completed(inventory)
    return inventory.gpus.sorted { plan.placements.labels.order($0) < plan.placements.labels.order($1) }.map { gpu in
      var shown = inUse(gpu, at: now)
      shown.instances = fleet.placements.values.filter { $0.gpus.contains(gpu.uuid) }.map(\.placement.id.name)
      let cordon = fleet.cordons[gpu.uuid]
      shown.cordon = cordon?.reason
      shown.cordonSecondsLeft = cordon?.until.map { max(0, ($0 - now).seconds) }
      shown.problem = inventory.problems.first { $0.gpu == gpu.uuid }?.description
      return shown
    }
  }

  /// A GPU, who uses it, and how it stands with it.
  private func inUse(_ gpu: GPU, at now: Instant) -> SupervisorTypes.GPU {
    var shown = SupervisorTypes.GPU(gpu, plan.placements.labels)
    shown.add(fleet.gpus[gpu.uuid]?.reading(at: now))
    shown.add(fleet.standing(ofGPU: gpu.uuid, at: now), isDivided: gpu.kind == .divided)
    return shown
  }

  /// For the dispatcher's metrics, as they were last read.
  var reportedGPUs: [DispatcherTypes.GPU] {
    let now = MonotonicClock.now
    return (lastReading ?? plan.inventory).gpus.prefix(DispatcherCalls.ReportFleet.mostGPUs).map { gpu in
      DispatcherTypes.GPU(inUse(gpu, at: now), faults: gpuFaultCounts[gpu.uuid])
    }
  }
}

extension DispatcherTypes.GPU {
  fileprivate init(_ gpu: SupervisorTypes.GPU, faults: [DispatcherTypes.GPUFaults]) {
    let label = gpu.label ?? "\(gpu.number)"
    self.init(name: label == gpu.uuid ? label : "gpu\(label)", state: gpu.state ?? .free, faults: faults)
    utilisationPercent = gpu.utilisationPercent
    temperatureCelsius = gpu.temperatureCelsius
    // That of a divided GPU is its slices', and is told with them.
    guard state != .divided else { return }
    memoryTotalBytes = gpu.memoryTotalBytes
    memoryUsedBytes = gpu.memoryUsedBytes
    memoryOursBytes = gpu.memoryOursBytes
    memoryOthersBytes = gpu.memoryOthersBytes
  }
}

extension SupervisorTypes.GPU {
  fileprivate init(_ gpu: GPU, _ labels: GPULabels) {
    self.init(uuid: gpu.uuid, number: labels.number(of: gpu), vendor: gpu.vendor.rawValue)
    label = labels[gpu.uuid]
    sliceOf = gpu.parent
    name = gpu.name
    memoryTotalBytes = gpu.memoryTotal.map { Int(clamping: $0) }
    memoryUsedBytes = gpu.memoryUsed.map { Int(clamping: $0) }
    utilisationPercent = gpu.utilisation
    temperatureCelsius = gpu.temperature
    pciAddress = gpu.pciAddress
    numaNode = gpu.numaNode
  }

  /// Whose memory it is. What is not known of one of the pool's processes is not known of all of them, and so of
  /// others'.
  fileprivate mutating func add(_ reading: GPUReading?) {
    guard let processes = reading?.processes else { return }
    var (ours, others): (Int?, Int?) = (0, 0)
    func sum(_ one: Int?, _ other: Int?) -> Int? {
      guard let one, let other else { return nil }
      let sum = one.addingReportingOverflow(max(0, other))
      return sum.overflow ? .max : sum.partialValue
    }
    self.processes = processes.map { process in
      switch process.owner {
      case .instance(let id):
        ours = sum(ours, process.memory)
        return SupervisorTypes.GPUProcess(pid: process.pid, memoryBytes: process.memory, instance: id.name)
      case .other(let command):
        others = sum(others, process.memory)
        return SupervisorTypes.GPUProcess(pid: process.pid, memoryBytes: process.memory, command: command)
      case .unknown:
        (ours, others) = (nil, nil)
        return SupervisorTypes.GPUProcess(pid: process.pid, memoryBytes: process.memory)
      }
    }
    (memoryOursBytes, memoryOthersBytes) = (ours, others)
  }

  fileprivate mutating func add(_ standing: GPUStanding, isDivided: Bool) {
    let text = standing.description
    switch standing {
    case .free: state = isDivided ? .divided : .free
    case .ours: state = .ours
    case .busy: (state, reason) = (.busy, text)
    case .cordoned: (state, reason) = (.cordoned, text)
    case .failed(_, let retryIn): (state, reason, retryInSeconds) = (.failed, text, retryIn?.seconds)
    case .quarantined(_, let retryIn): (state, reason, retryInSeconds) = (.quarantined, text, retryIn?.seconds)
    }
  }
}

extension SupervisorTypes.ModelStore {
  init(_ store: ModelStore, writer: InstanceID?) {
    self.init(
      path: store.path, source: store.source.rawValue, owner: store.owner ?? "unknown",
      mode: store.mode.map { String($0, radix: 8) }, refusal: store.refusal?.description, writer: writer?.name)
  }
}
