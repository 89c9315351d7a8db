import CNVML

/// Reads the MIG slices of one GPU.
struct NVMLSlices {
  let library: NVMLLibrary
  let files: FileSystem
  let parent: GPU
  /// Of the parent's device node.
  let minor: Int?
  /// The parent's processes, which say on which slice they are; `nil` where they aren't known.
  let processes: [NVMLProcesses.Entry]?

  /// Today's GPUs have seven: bounds what a broken library can make the pool do.
  private static let most = 64

  /// In NVML's order, without the gaps that deleted slices leave.
  /// - Parameter known: the parent's slices as they were read last.
  func read(_ device: NVMLDevice, known: [GPU], _ faults: inout NVMLFaults) -> [GPU] {
    let before = faults.problems.count
    guard let most = faults.value(device.mostSlices, "nvmlDeviceGetMaxMigDeviceCount") else {
      return remembered(known, since: before, &faults)
    }
    var slices: [GPU] = []
    for index in 0..<min(most, Self.most) {
      guard let found = faults.value(device.slice(index), "nvmlDeviceGetMigDeviceHandleByIndex") else {
        // Which of them it would have been is not known.
        return remembered(known, since: before, &faults)
      }
      if let slice = found, let gpu = read(slice, index, known, &faults) { slices.append(gpu) }
    }
    return slices
  }

  /// Slices that can't be asked are there as long as their GPU doesn't say otherwise; where none is known, some may be.
  private func remembered(_ known: [GPU], since count: Int, _ faults: inout NVMLFaults) -> [GPU] {
    if let cause = faults.problems.last, faults.problems.count > count || faults.isLost {
      if known.isEmpty { faults.mayHideSlices() }
      faults.problems += known.map { slice in
        var problem = cause
        problem.gpu = slice.uuid
        return problem
      }
    }
    return known.map(\.withoutReadings)
  }

  private func read(_ device: NVMLDevice, _ index: Int, _ known: [GPU], _ faults: inout NVMLFaults) -> GPU? {
    var own = NVMLFaults(library: library, gpu: "\(parent.uuid), MIG device \(index)")
    guard let uuid = own.value(device.uuid, "nvmlDeviceGetUUID") else {
      faults.problems += own.problems
      return nil
    }
    own = NVMLFaults(library: library, gpu: uuid)
    defer { faults.problems += own.problems }
    var slice = known.first { $0.uuid == uuid }?.withoutReadings ?? GPU(index: 0, uuid: uuid, vendor: .nvidia)
    guard let (gpuInstance, computeInstance) = instances(of: device, known: slice, &own) else { return nil }
    slice.kind = .slice(of: parent.uuid, gpuInstance: gpuInstance, computeInstance: computeInstance)
    slice.pciAddress = parent.pciAddress
    slice.pciPath = parent.pciPath
    slice.numaNode = parent.numaNode
    slice.localCPUs = parent.localCPUs
    slice.temperature = parent.temperature
    slice.name = own.value(device.name, "nvmlDeviceGetName") ?? slice.name ?? parent.name
    let memory = own.value(device.memory, "nvmlDeviceGetMemoryInfo")
    slice.memoryTotal = memory?.total ?? slice.memoryTotal
    slice.memoryUsed = memory?.used
    slice.processes = processes(of: device, gpuInstance, computeInstance, &own)
    // A driver that was loaded anew may have numbered the nodes anew.
    if !slice.deviceNodes.starts(with: parent.deviceNodes) { slice.deviceNodes = [] }
    if slice.deviceNodes.isEmpty {
      let nodes = capabilityNodes(gpuInstance, computeInstance, uuid, &own.problems)
      if !nodes.isEmpty, !parent.deviceNodes.isEmpty { slice.deviceNodes = parent.deviceNodes + nodes }
    }
    return slice
  }

  /// By its UUID a slice keeps them for good.
  private func instances(of device: NVMLDevice, known slice: GPU, _ own: inout NVMLFaults) -> (Int, Int)? {
    if case .slice(_, let gpuInstance, let computeInstance) = slice.kind { return (gpuInstance, computeInstance) }
    guard let gpuInstance = own.value(device.gpuInstance, "nvmlDeviceGetGpuInstanceId"),
      let computeInstance = own.value(device.computeInstance, "nvmlDeviceGetComputeInstanceId")
    else { return nil }
    return (gpuInstance, computeInstance)
  }

  /// The slice's own list, and what its GPU's list says of it: a driver may have but one of them.
  private func processes(
    of device: NVMLDevice, _ gpuInstance: Int, _ computeInstance: Int, _ own: inout NVMLFaults
  ) -> [GPUProcess]? {
    let parents = processes?.filter { entry in
      entry.gpuInstance == gpuInstance && (entry.computeInstance ?? computeInstance) == computeInstance
    }
    let listed = own.processes(of: device)
    guard parents != nil || listed != nil else { return nil }
    return NVMLProcesses.merged((listed ?? []) + (parents ?? []))
  }

  /// What else a process on the slice has to be able to open. Source: NVIDIA's MIG user guide, "Device Nodes and
  /// Capabilities".
  private func capabilityNodes(
    _ gpuInstance: Int, _ computeInstance: Int, _ uuid: String, _ problems: inout [InventoryProblem]
  ) -> [String] {
    guard let minor else { return [] }
    let folder = "/proc/driver/nvidia/capabilities/gpu\(minor)/mig/gi\(gpuInstance)"
    var nodes: [String] = []
    for file in ["\(folder)/access", "\(folder)/ci\(computeInstance)/access"] {
      guard let minor = files.text(of: file).flatMap({ Self.deviceMinor($0) }) else {
        problems.append(
          InventoryProblem(gpu: uuid, subject: file, text: "tells no DeviceFileMinor, so its device nodes aren't known")
        )
        return []
      }
      nodes.append("/dev/nvidia-caps/nvidia-cap\(minor)")
    }
    return nodes
  }

  /// Of `DeviceFileMinor: 30`, a line of several.
  private static func deviceMinor(_ text: String) -> UInt32? {
    let key = "DeviceFileMinor:"
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key) }) else { return nil }
    return UInt32(line.dropFirst(key.count).drop { $0 == " " || $0 == "\t" })
  }
}
