import GPUInventory
import PoolConfiguration

/// The drivers: the kernel's part, the library, and what they tell.
enum DriverExamination {
  private static let check = "driver"

  static func findings(_ facts: GPUFacts, _ choice: GPUChoice) -> [Finding] {
    let vendors = choice.vendors
    if vendors.isEmpty { return [.ok(check, "none is asked: the configuration says `gpus: cpu`")] }
    return (vendors.contains(.nvidia) ? [nvidia(facts)] + events(facts) : [])
      + (vendors.contains(.amd) ? amd(facts) : [])
  }

  /// Where no driver has answered in its time.
  static func silence(_ drivers: KernelDrivers) -> Finding {
    let isSlow = drivers.nvidia != nil && !drivers.hasPersistenceDaemon
    let slow =
      "nothing keeps NVIDIA's driver ready, so it wakes up each GPU, which takes seconds: "
      + "`systemctl enable --now nvidia-persistenced`; if that changes nothing, "
    return .problem(
      check, "a GPU's driver has not answered in \(Quantity.duration(seconds: GPUFacts.patience / .seconds(1)))",
      remedy: (isSlow ? slow : "")
        + "`journalctl -k --grep 'NVRM|amdgpu'` may tell why; a GPU that hangs takes a restart of the machine")
  }

  // MARK: NVIDIA

  private static func nvidia(_ facts: GPUFacts) -> Finding {
    let drivers = facts.drivers
    if facts.inventory.hasAnswerOfNVIDIA {
      let version = facts.inventory.driverVersion.map { "version \($0)" } ?? "which does not tell its version"
      let module = drivers.nvidia.map { ", kernel module \($0.isEmpty ? "of unknown version" : $0)" } ?? ""
      let persistence = drivers.hasPersistenceDaemon ? ", kept ready by nvidia-persistenced" : ""
      return .ok(check, "NVIDIA's, \(version)\(module)\(persistence)")
    }
    // Of one that answers, only single GPUs or calls fail; those are findings of their own.
    if let problem = facts.inventory.problems.first(where: { $0.gpu == nil && !$0.isOfAMD }) {
      return facts.inventory.source == .cpu ? absent(drivers, problem) : failing(problem, facts)
    }
    return absent(drivers, nil)
  }

  private static func failing(_ problem: InventoryProblem, _ facts: GPUFacts) -> Finding {
    let drivers = facts.drivers
    if problem.code == nil, problem.remedy == nil, let version = drivers.nvidia {
      if facts.isInContainer {
        return .problem(
          check,
          "the machine has NVIDIA's driver\(version.isEmpty ? "" : " \(version)"), and this container has not: "
            + problem.summary, remedy: "start it with GPUs: \(containerOptions)")
      }
      return .problem(
        check,
        "the kernel has NVIDIA's module\(version.isEmpty ? "" : " \(version)"), and its library can't be loaded: "
          + problem.summary,
        remedy:
          "install the part of the driver that has libnvidia-ml.so.1, of just that version: libnvidia-ml1 of Debian, "
          + "libnvidia-compute-… of Ubuntu")
    }
    let module = drivers.nvidia.flatMap { $0.isEmpty ? nil : "; the kernel's module has version \($0)" } ?? ""
    return .problem(
      check, "NVIDIA's does not answer: \(problem.summary)\(module)",
      remedy: problem.remedy ?? "`nvidia-smi` shows what the driver says; reinstall it if it fails too")
  }

  /// Where the kernel has no module of NVIDIA's.
  /// - Parameter problem: why its library does not answer, where that is known.
  private static func absent(_ drivers: KernelDrivers, _ problem: InventoryProblem?) -> Finding {
    let hasLibrary = problem?.isDriverNotLoaded ?? false
    guard !drivers.nvidiaDevices.isEmpty else {
      return .ok(check, hasLibrary ? "NVIDIA's library without a module, nor a GPU" : "none of NVIDIA's, nor a GPU")
    }
    let devices = drivers.nvidiaDevices.joined(separator: ", ")
    if hasLibrary, let problem {
      return .warning(
        check, "there is a GPU of NVIDIA's (\(devices)), and the driver's module is not loaded: \(problem.summary)",
        remedy: "`modprobe nvidia`; where that fails, `dkms status` and `journalctl -k --grep nvidia` say why")
    }
    let free = drivers.hasNouveau ? "only nouveau, on which CUDA does not run" : "no driver for it that computes"
    return .warning(
      check, "there is a GPU of NVIDIA's (\(devices)), and \(free)",
      remedy: "install NVIDIA's driver and restart the machine, or say `gpus: cpu` if it is not to be used")
  }

  /// Whether errors are told as they happen.
  private static func events(_ facts: GPUFacts) -> [Finding] {
    let gpus = Set(facts.inventory.gpus.filter { $0.vendor == .nvidia }.map { $0.parent ?? $0.uuid })
    guard facts.inventory.hasAnswerOfNVIDIA, !gpus.isEmpty else { return [] }
    let silent = gpus.subtracting(facts.withEvents).sorted()
    if let problem = facts.eventProblem {
      return [
        .warning(
          check, "NVIDIA's does not tell errors (XID) of \(silent.joined(separator: ", ")): \(problem.summary)",
          remedy: problem.remedy ?? "a GPU's faults are seen in its readings alone; a later driver may help")
      ]
    }
    if silent.isEmpty { return [.ok(check, "NVIDIA's tells errors (XID, ECC) as they happen")] }
    return [.ok(check, "NVIDIA's has no events of \(silent.joined(separator: ", ")): faults show in readings alone")]
  }

  /// For NVIDIA's GPUs.
  static let containerOptions = "`docker run --gpus all`, or `podman run --device nvidia.com/gpu=all`"

  // MARK: AMD

  private static func amd(_ facts: GPUFacts) -> [Finding] {
    let drivers = facts.drivers
    let isUsed = facts.inventory.gpus.contains { $0.vendor == .amd }
    guard let version = drivers.amdgpu else {
      guard !drivers.amdDevices.isEmpty else { return [] }
      // Often graphics of the processor's, beside the GPUs that are meant.
      if facts.inventory.hasAnswerOfNVIDIA, !isUsed {
        return [
          .ok(check, "AMD's amdgpu is not loaded, so \(drivers.amdDevices.joined(separator: ", ")) is not used")
        ]
      }
      return [
        .warning(
          check, "there is a GPU of AMD's (\(drivers.amdDevices.joined(separator: ", "))), and amdgpu is not loaded",
          remedy: "`modprobe amdgpu`; `journalctl -k --grep amdgpu` says why it fails")
      ]
    }
    guard drivers.hasKFD else {
      return [
        .warning(
          check, "AMD's amdgpu is loaded without KFD, so nothing can compute on its GPUs",
          remedy: "use a kernel that has CONFIG_HSA_AMD, or AMD's own module: amdgpu-dkms")
      ]
    }
    let own = version.isEmpty ? "that of the kernel" : "version \(version)"
    return [
      .ok(check, "AMD's amdgpu with KFD, \(own)" + (isUsed ? "" : "; it has no GPU with 1 GiB of memory or more"))
    ]
  }
}

extension InventoryProblem {
  /// AMD's are about files of sysfs, NVIDIA's about its library.
  var isOfAMD: Bool { subject.hasPrefix("/sys/") }
}
