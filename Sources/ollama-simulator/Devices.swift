import PoolCore

/// The GPUs that this server claims to have: those that its variables make visible.
struct Devices: Sendable {
  struct Device: Sendable {
    let id: String
    let library: String
  }

  let all: [Device]
  /// The variable that made them visible, for the log.
  let variable: (name: String, value: String)?

  init(environment: [String: String]) {
    var all: [Device] = []
    var variable: (name: String, value: String)?
    for (name, library) in [("CUDA_VISIBLE_DEVICES", "CUDA"), ("ROCR_VISIBLE_DEVICES", "ROCm")] {
      guard let value = environment[name], !value.isEmpty else { continue }
      variable = variable ?? (name, value)
      // As the drivers: what comes after the first invalid entry does not count.
      all += value.split(separator: ",").map { $0.trimmingBlanks() }.prefix { !$0.hasPrefix("-") }
        .map { Device(id: String($0), library: library) }
    }
    self.all = all
    self.variable = variable
  }

  /// Says what a discovery found.
  ///
  /// - Parameters:
  ///   - memory: of simulated GPUs.
  ///   - fellBack: whether the GPUs could not be used, which Ollama hardly mentions.
  func log(_ memory: GPUMemory?, fellBack: Bool) {
    if let variable {
      Log.info(
        "user overrode visible devices", source: "runner.go", [variable.name: variable.value])
    }
    if all.isEmpty || fellBack {
      Log.info(
        "inference compute", source: "types.go",
        [
          "id": "cpu", "library": "cpu", "compute": "", "name": "cpu", "description": "cpu", "total": "16.0 GiB",
          "available": "12.0 GiB",
        ])
      return
    }
    for (index, device) in all.enumerated() {
      Log.info(
        "inference compute", source: "types.go",
        [
          "id": device.id, "library": device.library, "compute": "8.6", "name": "\(device.library)\(index)",
          "description": "Simulated GPU", "pci_id": "0000:0\(index + 1):00.0", "type": "discrete",
          "total": memory?.total(of: device.id).map { byteText($0) } ?? "24.0 GiB",
          "available": memory?.room(of: device.id).map { byteText($0) } ?? "23.5 GiB",
        ])
    }
  }
}
