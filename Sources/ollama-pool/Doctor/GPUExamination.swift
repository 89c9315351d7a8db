import GPUInventory
import Launching
import PoolConfiguration

/// The GPUs, and whether the nodes are there that an instance opens.
enum GPUExamination {
  private static let check = "gpus"

  static func findings(_ facts: GPUFacts) -> [Finding] {
    let inventory = facts.inventory
    if inventory.source == .cpu {
      let cause = inventory.problems.first.map { " (\($0.subject): \($0.text))" } ?? ""
      return [.ok(check, "none\(cause): one instance runs on the CPU")]
    }
    // What keeps all of NVIDIA's from being used is the driver's.
    let problems = inventory.problems.filter { problem in
      (problem.gpu != nil || problem.isOfAMD || problem.kind == .silent)
        && !inventory.problems.contains { problem.repeats($0) }
    }.map(finding)
    return inventory.gpus.map { finding($0, facts) } + problems + remarks(inventory.gpus)
  }

  private static func finding(_ problem: InventoryProblem) -> Finding {
    .problem(
      check, problem.summary,
      remedy: problem.remedy
        ?? (problem.kind == .unknown
          ? "correct `gpus` in the configuration: `nvidia-smi -L` and `ollama-pool gpus` list what there is"
          : problem.isOfAMD
            ? "the kernel's log may tell more: `journalctl -k --grep amdgpu`"
            : "`nvidia-smi` shows what the driver says; reinstall it if it fails too"))
  }

  private static func finding(_ gpu: GPU, _ facts: GPUFacts) -> Finding {
    let missing = gpu.missingDeviceNodes()
    if let node = missing.first {
      return .problem(
        check, "\(gpu.title): there is no \(missing.joined(separator: ", ")), so an instance would compute on the CPU",
        remedy: remedy(withoutNode: node, of: gpu, facts))
    }
    if gpu.deviceNodes.isEmpty, gpu.kind != .divided {
      return .warning(
        check, "\(gpu.title): its device nodes are not known, so its instance may open those of all others",
        remedy: "name them: `nodes` in the list under `gpus`")
    }
    let memory = gpu.memoryTotal.map { ", \(Quantity.bytes(Int(clamping: $0)))" } ?? ""
    let mode = gpu.kind == .divided ? ", in MIG mode" : ""
    let nodes = gpu.deviceNodes.isEmpty ? "" : ": " + gpu.deviceNodes.joined(separator: ", ")
    return .ok(check, "\(gpu.title)\(memory)\(mode)\(nodes)")
  }

  private static func remedy(withoutNode node: String, of gpu: GPU, _ facts: GPUFacts) -> String {
    if facts.isInContainer {
      return gpu.vendor == .amd
        ? "start the container with the nodes: `--device /dev/kfd --device /dev/dri`"
        : "start the container with GPUs that compute: \(DriverExamination.containerOptions); "
          + "NVIDIA_DRIVER_CAPABILITIES, if set, has to have `compute`"
    }
    if gpu.vendor == .amd {
      return facts.drivers.amdgpu == nil
        ? "load the driver's module: `modprobe amdgpu`"
        : "the kernel makes it when amdgpu begins: restart the machine"
    }
    let minor = gpu.deviceNodes.compactMap(nvidiaMinor).first ?? 0
    guard node.hasPrefix("/dev/nvidia-caps/"), case .slice(_, let gpuInstance, let computeInstance) = gpu.kind else {
      return "`nvidia-modprobe -u -c=\(nvidiaMinor(node) ?? 0)`"
    }
    let folder = "/proc/driver/nvidia/capabilities/gpu\(minor)/mig/gi\(gpuInstance)"
    return "`nvidia-modprobe -f \(folder)/access -f \(folder)/ci\(computeInstance)/access`"
  }

  private static func nvidiaMinor(_ node: String) -> Int? {
    node.hasPrefix("/dev/nvidia") ? Int(node.dropFirst("/dev/nvidia".count)) : nil
  }

  /// What is no fault and may surprise.
  private static func remarks(_ gpus: [GPU]) -> [Finding] {
    gpus.filter(\.isNamedByAddress).map { gpu in
      .ok(
        check,
        "\(gpu.title): the hardware tells no id of its own, so it is pinned by its number for AMD's runtime"
          + (gpu.runtimeIndex.map { " (\($0))" } ?? "") + ", which may change when a GPU comes or goes")
    }
  }
}
