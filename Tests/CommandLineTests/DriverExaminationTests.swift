import GPUInventory
import PoolConfiguration
import Testing

@testable import ollama_pool

/// What is said of the drivers, by what the kernel and their libraries show.
@Suite struct DriverExaminationTests {
  private static let card = "0000:41:00.0"

  private func drivers(_ change: (inout KernelDrivers) -> Void = { _ in }) -> KernelDrivers {
    var drivers = KernelDrivers()
    change(&drivers)
    return drivers
  }

  private func findings(
    _ drivers: KernelDrivers, _ inventory: Inventory, choice: GPUChoice = .auto, events: Set<String> = [],
    _ eventProblem: InventoryProblem? = nil
  ) -> [Finding] {
    DriverExamination.findings(
      GPUFacts(drivers: drivers, inventory: inventory, withEvents: events, eventProblem: eventProblem), choice)
  }

  private func answering(_ uuids: String...) -> Inventory {
    var inventory = Inventory(
      source: .drivers,
      gpus: uuids.enumerated().map { GPU(index: $0.offset, uuid: $0.element, vendor: .nvidia) })
    inventory.driverVersion = "550.54.15"
    return inventory
  }

  @Test func `a driver that answers tells its version, and whether it tells errors`() {
    let kernel = drivers {
      $0.nvidia = "550.54.15"
      $0.hasPersistenceDaemon = true
    }
    #expect(
      findings(kernel, answering("GPU-a", "GPU-b"), events: ["GPU-a", "GPU-b"]) == [
        .ok("driver", "NVIDIA's, version 550.54.15, kernel module 550.54.15, kept ready by nvidia-persistenced"),
        .ok("driver", "NVIDIA's tells errors (XID, ECC) as they happen"),
      ])
    #expect(
      findings(drivers(), answering("GPU-a", "GPU-b"), events: ["GPU-a"]).last
        == .ok("driver", "NVIDIA's has no events of GPU-b: faults show in readings alone"))
    var slice = answering("MIG-x")
    slice.gpus[0].kind = .slice(of: "GPU-b", gpuInstance: 1, computeInstance: 0)
    #expect(
      findings(drivers(), slice, events: []).last
        == .ok("driver", "NVIDIA's has no events of GPU-b: faults show in readings alone"))
    var tightLipped = answering("GPU-a")
    tightLipped.driverVersion = nil
    #expect(findings(drivers(), tightLipped)[0] == .ok("driver", "NVIDIA's, which does not tell its version"))
    let denied = InventoryProblem(
      gpu: "GPU-a", subject: "nvmlDeviceRegisterEvents", code: 4, text: "Insufficient Permissions")
    let finding = findings(drivers(), answering("GPU-a"), denied).last
    #expect(
      finding?.status == .warning && finding?.text.contains("errors (XID) of GPU-a: GPU-a: nvmlDeviceReg") == true)
    #expect(finding?.remedy == "the pool's user may not open the driver's device nodes (/dev/nvidia*)")
  }

  private func findings(_ drivers: KernelDrivers, _ inventory: Inventory, _ problem: InventoryProblem) -> [Finding] {
    findings(drivers, inventory, choice: .auto, events: [], problem)
  }

  @Test func `a machine without a GPU of NVIDIA's lacks nothing`() {
    let missing = InventoryProblem(subject: "libnvidia-ml.so.1", text: "cannot open shared object file")
    #expect(
      findings(drivers(), Inventory(source: .cpu, problems: [missing])) == [
        .ok("driver", "none of NVIDIA's, nor a GPU")
      ])
    let unloaded = InventoryProblem(subject: "nvmlInit_v2", code: 9, text: "Driver Not Loaded")
    #expect(
      findings(drivers(), Inventory(source: .cpu, problems: [unloaded])) == [
        .ok("driver", "NVIDIA's library without a module, nor a GPU")
      ])
    #expect(
      findings(drivers(), Inventory(source: .cpu), choice: .cpu) == [
        .ok("driver", "none is asked: the configuration says `gpus: cpu`")
      ])
  }

  @Test func `a card without a driver, or with half of one, is told with what is missing`() {
    let missing = InventoryProblem(subject: "libnvidia-ml.so.1", text: "cannot open shared object file")
    let card = drivers { $0.nvidiaDevices = [Self.card] }
    var finding = findings(card, Inventory(source: .cpu, problems: [missing]))[0]
    #expect(finding.status == .warning)
    #expect(finding.text == "there is a GPU of NVIDIA's (\(Self.card)), and no driver for it that computes")
    #expect(finding.remedy?.hasPrefix("install NVIDIA's driver") == true)

    let nouveau = drivers {
      $0.nvidiaDevices = [Self.card]
      $0.hasNouveau = true
    }
    finding = findings(nouveau, Inventory(source: .cpu, problems: [missing]))[0]
    #expect(finding.text.hasSuffix("only nouveau, on which CUDA does not run"))

    let unloaded = InventoryProblem(subject: "nvmlInit_v2", code: 9, text: "Driver Not Loaded")
    finding = findings(card, Inventory(source: .cpu, problems: [unloaded]))[0]
    #expect(finding.status == .warning && finding.text.contains("the driver's module is not loaded: nvmlInit_v2"))
    #expect(finding.remedy?.hasPrefix("`modprobe nvidia`") == true)

    let module = drivers {
      $0.nvidiaDevices = [Self.card]
      $0.nvidia = "550.54.15"
    }
    finding = findings(module, Inventory(source: .drivers, problems: [missing]))[0]
    #expect(finding.status == .problem)
    #expect(
      finding.text.hasPrefix("the kernel has NVIDIA's module 550.54.15, and its library can't be loaded: libnvidia-ml"))
    #expect(finding.remedy?.contains("libnvidia-ml.so.1, of just that version") == true)
  }

  @Test func `a driver that was upgraded, or is too old, or refuses, is a problem with its remedy`() {
    let module = drivers { $0.nvidia = "535.1" }
    let cases: [(Int32, String)] = [
      (18, "kernel module is still the old one"), (4, "may not open the driver's device nodes"),
      (999, "journalctl -k --grep NVRM"), (3, "`nvidia-smi` shows what the driver says"),
    ]
    for (code, remedy) in cases {
      let problem = InventoryProblem(subject: "nvmlInit_v2", code: code, text: "text")
      let finding = findings(module, Inventory(source: .drivers, problems: [problem]))[0]
      #expect(finding.status == .problem)
      #expect(
        finding.text
          == "NVIDIA's does not answer: nvmlInit_v2: text (NVML code \(code)); the kernel's module has version 535.1")
      #expect(finding.remedy?.contains(remedy) == true, "\(finding)")
    }
    let old = InventoryProblem(
      subject: "libnvidia-ml.so.1", text: "has no nvmlInit_v2", advice: "install NVIDIA's driver 450 or a later one")
    let finding = findings(module, Inventory(source: .drivers, problems: [old]))[0]
    #expect(finding.status == .problem && finding.remedy == "install NVIDIA's driver 450 or a later one")
  }

  @Test func `a container without GPUs needs them, and no part of a driver`() {
    let missing = InventoryProblem(subject: "libnvidia-ml.so.1", text: "cannot open shared object file")
    var facts = GPUFacts(
      drivers: drivers { $0.nvidia = "550.54.15" }, inventory: Inventory(source: .drivers, problems: [missing]))
    facts.isInContainer = true
    let finding = DriverExamination.findings(facts, .auto)[0]
    #expect(finding.status == .problem && finding.text.contains("has NVIDIA's driver 550.54.15, and this container"))
    #expect(finding.remedy?.contains("`docker run --gpus all`") == true)
  }

  @Test func `a driver that takes long may only be waking its GPUs`() {
    let cold = DriverExamination.silence(drivers { $0.nvidia = "550.54.15" })
    #expect(cold.status == .problem && cold.text == "a GPU's driver has not answered in 1m")
    #expect(cold.remedy?.contains("`systemctl enable --now nvidia-persistenced`; if that changes nothing") == true)
    let kept = drivers {
      $0.nvidia = "550.54.15"
      $0.hasPersistenceDaemon = true
    }
    for drivers in [kept, drivers { $0.amdgpu = "" }] {
      #expect(DriverExamination.silence(drivers).remedy?.hasPrefix("`journalctl -k") == true)
    }
  }

  @Test func `graphics of AMD's beside GPUs of NVIDIA's are left alone`() {
    let kernel = drivers {
      $0.nvidia = "550.54.15"
      $0.amdDevices = ["0000:03:00.0"]
    }
    #expect(
      findings(kernel, answering("GPU-a"), events: ["GPU-a"]).last
        == .ok("driver", "AMD's amdgpu is not loaded, so 0000:03:00.0 is not used"))
    #expect(findings(kernel, Inventory(source: .cpu)).last?.remedy?.hasPrefix("`modprobe amdgpu`") == true)
  }

  @Test func `AMD's driver needs its module, and KFD with it`() {
    func amd(_ change: (inout KernelDrivers) -> Void, _ inventory: Inventory = Inventory(source: .cpu)) -> Finding? {
      let list = GPUChoice.list([
        {
          var gpu = GPUSettings(uuid: "GPU-1")
          gpu.vendor = .amd
          return gpu
        }()
      ])
      return findings(drivers(change), inventory, choice: list).first
    }
    #expect(amd { _ in } == nil)
    let unloaded = amd { $0.amdDevices = ["0000:03:00.0"] }
    #expect(unloaded?.status == .warning && unloaded?.remedy?.hasPrefix("`modprobe amdgpu`") == true)
    let withoutKFD = amd { $0.amdgpu = "" }
    #expect(withoutKFD?.status == .warning && withoutKFD?.text.contains("without KFD") == true)
    let well: (inout KernelDrivers) -> Void = {
      $0.amdgpu = "6.8.5"
      $0.hasKFD = true
    }
    let gpu = Inventory(source: .drivers, gpus: [GPU(index: 0, uuid: "GPU-1", vendor: .amd)])
    #expect(amd(well, gpu) == .ok("driver", "AMD's amdgpu with KFD, version 6.8.5"))
    #expect(amd(well)?.text.hasSuffix("it has no GPU with 1 GiB of memory or more") == true)
  }
}
