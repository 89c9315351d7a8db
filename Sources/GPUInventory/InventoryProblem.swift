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

  package init(gpu: String? = nil, subject: String, code: Int32? = nil, text: String, advice: String? = nil) {
    self.gpu = gpu
    self.subject = subject
    self.code = code
    self.text = text
    self.advice = advice
  }

  /// A GPU that is configured, or was there, and that its driver does not know.
  package static func unknownGPU(_ uuid: String, _ text: String) -> InventoryProblem {
    InventoryProblem(gpu: uuid, subject: "gpus", text: text)
  }

  package var isUnknownGPU: Bool { gpu != nil && subject == "gpus" && code == nil }

  /// The GPU has fallen off the bus: nothing can run on it before a restart of the machine.
  package var isGPULost: Bool { code == cnvml_return(CNVML_GPU_IS_LOST) }

  /// The GPU hangs: nothing can run on it before it is reset.
  package var needsReset: Bool { code == cnvml_return(CNVML_RESET_REQUIRED) }

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
    case CNVML_RESET_REQUIRED: "reset it with `nvidia-smi --gpu-reset` while nothing uses it, or restart the machine"
    case CNVML_LIB_RM_VERSION_MISMATCH:
      "the driver was upgraded and its kernel module is still the old one: restart the machine or reload the module"
    case CNVML_UNKNOWN: "the driver gives no reason: the kernel's log may (`journalctl -k --grep NVRM`)"
    default: advice
    }
  }

  /// Without the remedy.
  package var summary: String {
    "\(gpu.map { "\($0): " } ?? "")\(subject): \(text)\(code.map { " (NVML code \($0))" } ?? "")"
  }

  package var description: String { summary + (remedy.map { "; \($0)" } ?? "") }
}
