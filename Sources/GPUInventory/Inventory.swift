/// Where the GPUs are to be learnt from.
package enum GPUSource: Sendable, Equatable {
  /// NVIDIA's by NVML and AMD's by sysfs; where there is no driver of either, the CPU.
  case automatic
  /// No GPU.
  case cpu
  /// These, in this order, with what their drivers and sysfs can add.
  case configured([ConfiguredGPU])

  /// Whether a reading waits for a driver, which may hang.
  package var asksDriver: Bool {
    switch self {
    case .automatic: true
    case .cpu: false
    case .configured(let gpus): !gpus.isEmpty
    }
  }
}

/// A GPU as the operator describes it.
package struct ConfiguredGPU: Sendable, Equatable {
  package var uuid: String
  package var name: String?
  package var vendor: GPU.Vendor
  /// Bytes.
  package var memory: UInt64?
  package var pciAddress: String?
  package var deviceNodes: [String]

  package init(
    uuid: String, name: String? = nil, vendor: GPU.Vendor = .nvidia, memory: UInt64? = nil,
    pciAddress: String? = nil, deviceNodes: [String] = []
  ) {
    self.uuid = uuid
    self.name = name
    self.vendor = vendor
    self.memory = memory
    self.pciAddress = pciAddress
    self.deviceNodes = deviceNodes
  }
}

/// The GPUs of one reading.
package struct Inventory: Sendable, Equatable {
  package enum Source: String, Sendable {
    /// Read from their drivers, in the order of their PCI addresses. Empty only where each of them failed.
    case drivers
    case configured
    /// There are none to use: one instance runs on the CPU.
    case cpu
  }

  package var source: Source
  /// Slices follow the GPU that they are of.
  package var gpus: [GPU]
  /// What could not be read. A problem with one GPU leaves the others as they are.
  package var problems: [InventoryProblem]
  /// Of NVIDIA's driver, such as `550.54.15`.
  package var driverVersion: String?

  package init(source: Source, gpus: [GPU] = [], problems: [InventoryProblem] = []) {
    self.source = source
    self.gpus = gpus
    self.problems = problems
  }
}

extension Inventory {
  /// Whether NVIDIA's driver has told something.
  package var hasAnswerOfNVIDIA: Bool {
    driverVersion != nil || source == .drivers && gpus.contains { $0.vendor == .nvidia }
  }

  /// Why a GPU may be there that was not read; `nil` where the reading is complete. One that is lost is not there.
  package var incompleteness: InventoryProblem? {
    if source == .cpu { return nil }
    let read = Set(gpus.map(\.uuid))
    return problems.first { problem in
      guard let gpu = problem.gpu else { return true }
      return problem.kind != .lost && !read.contains(gpu)
    }
  }
}
