import GPUInventory
import PoolConfiguration
import Supervisor

/// The GPUs, and whether an instance will be able to open them.
enum GPUExamination {
  static func run(_ settings: Settings) -> [Finding] {
    let inventory = InventoryReader().read(settings.gpuSource)
    var findings = inventory.gpus.map(finding)
    findings += inventory.problems.map { problem in
      inventory.source == .cpu
        ? Finding.ok("gpus", "no NVIDIA driver (\(problem.subject): \(problem.text)): one instance runs on the CPU")
        : .problem(
          "gpus", problem.summary,
          remedy: problem.remedy
            ?? (problem.subject.hasPrefix("/sys/")
              ? "the kernel's log may tell more: `journalctl -k --grep amdgpu`"
              : "`nvidia-smi` shows what the driver says; reinstall it if it fails too"))
    }
    if findings.isEmpty { findings = [.ok("gpus", "none: one instance runs on the CPU")] }
    return findings + placements(settings, inventory)
  }

  private static func finding(_ gpu: GPU) -> Finding {
    let name = "\(gpu.name ?? gpu.vendor.rawValue) \(gpu.uuid)"
    let missing = gpu.missingDeviceNodes()
    guard missing.isEmpty else {
      return .problem(
        "gpus", "\(name): there is no \(missing.joined(separator: ", ")), so an instance would compute on the CPU",
        remedy: gpu.vendor == .nvidia ? "`nvidia-modprobe -u -c=0`" : "load the driver's module: `modprobe amdgpu`")
    }
    let nodes = gpu.deviceNodes.isEmpty ? "its device nodes are not known" : gpu.deviceNodes.joined(separator: ", ")
    return .ok("gpus", "\(name): \(nodes)")
  }

  private static func placements(_ settings: Settings, _ inventory: Inventory) -> [Finding] {
    guard settings.gpus == .auto else { return [] }
    return settings.placementProblems(knownGPUs: inventory.gpus.map(\.uuid)).map {
      .problem("placements", "\($0)", remedy: "correct `placements` in the configuration")
    }
  }
}
