import CNVML

/// Why something about the GPUs is not known.
package struct InventoryProblem: Error, Sendable, Hashable, CustomStringConvertible {
  /// The GPU's UUID, or `GPU 3` by NVML's own count (`KFD node 3` for AMD) where not even that could be read; `nil`: it
  /// concerns all.
  package var gpu: String?
  /// What failed: a call such as `nvmlDeviceGetMemoryInfo_v2`, the library, or a file.
  package var subject: String
  /// NVML's return code.
  package var code: Int32?
  package var text: String
  /// What helps against it, where no code tells.
  var advice: String?
  package var kind: Kind

  /// What it says of the GPU that it is about; graver ones are greater.
  package enum Kind: Sendable, Hashable, Comparable {
    /// What is near it is not known.
    case aside
    /// Something of it is not known. It may be used.
    case partial
    /// Nothing of it is known. It may be there.
    case silent
    /// It is configured, or was there, and its driver does not know it.
    case unknown
    /// It hangs: nothing can run on it before it is reset.
    case needsReset
    /// It has fallen off the bus: nothing can run on it before a restart of the machine.
    case lost

    init(code: Int32?) {
      switch code.map(Int.init) {
      case CNVML_GPU_IS_LOST: self = .lost
      case CNVML_RESET_REQUIRED: self = .needsReset
      case nil: self = .aside
      default: self = .partial
      }
    }
  }

  /// - Parameter kind: the graver of this and what the code says.
  package init(
    gpu: String? = nil, subject: String, code: Int32? = nil, text: String, advice: String? = nil, kind: Kind = .partial
  ) {
    self.gpu = gpu
    self.subject = subject
    self.code = code
    self.text = text
    self.advice = advice
    self.kind = max(kind, Kind(code: code))
  }

  package static func unknownGPU(_ uuid: String, _ text: String) -> InventoryProblem {
    InventoryProblem(gpu: uuid, subject: "gpus", text: text, kind: .unknown)
  }

  /// The same as the reason why something is not known of one GPU. Its code says nothing of that one, such as that it
  /// is lost.
  func repeated(about gpu: String, _ kind: Kind) -> InventoryProblem {
    InventoryProblem(gpu: gpu, subject: subject, text: text, advice: remedy, kind: kind)
  }

  /// Whether it says of one GPU what the other says of all.
  package func repeats(_ other: InventoryProblem) -> Bool {
    gpu != nil && other.gpu == nil && subject == other.subject && text == other.text
  }

  /// The library is there, and the kernel's module is not loaded.
  package var isDriverNotLoaded: Bool { code == cnvml_return(CNVML_DRIVER_NOT_LOADED) }

  /// What can be done about it, where that is known.
  package var remedy: String? {
    switch code.map(Int.init) {
    case CNVML_NO_PERMISSION: "the pool's user may not open the driver's device nodes (/dev/nvidia*)"
    case CNVML_DRIVER_NOT_LOADED: "load the kernel's module: `modprobe nvidia`"
    case CNVML_LIBRARY_NOT_FOUND: "a part of the driver is missing: install NVIDIA's driver again"
    case CNVML_GPU_IS_LOST:
      "it has fallen off the bus: restart the machine; if it happens again, look at its seat and power"
    case CNVML_RESET_REQUIRED:
      "`systemctl stop ollama-pool-supervisor.socket`, since the supervisor has it open, end what runs on it, `nvidia-smi "
        + "--gpu-reset -i \(resettable)`, `systemctl start ollama-pool-supervisor`; or restart the machine"
    case CNVML_LIB_RM_VERSION_MISMATCH:
      "the driver was upgraded and its kernel module is still the old one: restart the machine, or `systemctl stop "
        + "ollama-pool.target`, end what else uses it, and reload the module"
    case CNVML_UNKNOWN: "the driver gives no reason: the kernel's log may (`journalctl -k --grep NVRM`)"
    default: advice
    }
  }

  /// As `nvidia-smi -i` takes it, which without would reset all GPUs, also those that are in use. A slice is reset with
  /// its GPU.
  private var resettable: String { gpu.flatMap { $0.hasPrefix("GPU-") ? $0 : nil } ?? "UUID" }

  /// Without the remedy.
  package var summary: String {
    "\(gpu.map { "\($0): " } ?? "")\(subject): \(text)\(code.map { " (NVML code \($0))" } ?? "")"
  }

  package var description: String { summary + (remedy.map { "; \($0)" } ?? "") }
}
