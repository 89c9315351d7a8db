import CNVML

/// Where the GPUs are to be learnt from.
package enum GPUSource: Sendable, Equatable {
  /// NVML's; where there is no NVIDIA driver, the CPU.
  case automatic
  /// No GPU.
  case cpu
  /// These, in this order, with what NVML can add.
  case configured([ConfiguredGPU])

  /// Whether a reading waits for NVIDIA's driver, which may hang.
  package var asksDriver: Bool {
    switch self {
    case .automatic: true
    case .cpu: false
    case .configured(let gpus): gpus.contains { $0.vendor == .nvidia }
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
    /// Read from NVML, in the order of their PCI addresses. Empty only where each of them failed.
    case nvml
    case configured
    /// There are none to use: one instance runs on the CPU.
    case cpu
  }

  package var source: Source
  package var gpus: [GPU]
  /// What could not be read. A problem with one GPU leaves the others as they are.
  package var problems: [InventoryProblem]

  package init(source: Source, gpus: [GPU] = [], problems: [InventoryProblem] = []) {
    self.source = source
    self.gpus = gpus
    self.problems = problems
  }
}

/// Why something about the GPUs is not known.
package struct InventoryProblem: Error, Sendable, Equatable, CustomStringConvertible {
  /// The GPU's UUID, or `GPU 3` by NVML's own count where not even that could be read; `nil`: it concerns all.
  package var gpu: String?
  /// The call that failed, such as `nvmlDeviceGetMemoryInfo_v2`, or the library.
  package var subject: String
  /// NVML's return code.
  package var code: Int32?
  package var text: String

  package init(gpu: String? = nil, subject: String, code: Int32? = nil, text: String) {
    self.gpu = gpu
    self.subject = subject
    self.code = code
    self.text = text
  }

  /// The GPU has fallen off the bus: nothing can run on it before a restart of the machine.
  package var isGPULost: Bool { code == cnvml_return(CNVML_GPU_IS_LOST) }

  package var description: String {
    "\(gpu.map { "\($0): " } ?? "")\(subject): \(text)\(code.map { " (NVML code \($0))" } ?? "")"
  }
}
