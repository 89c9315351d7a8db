import Glibc
import TestSupport
import Testing

@testable import GPUInventory

struct NVMLTests {
  @Test("four GPUs are read, in the order of the PCI bus")
  func fourGPUs() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four)
    let inventory = fake.reader().read(.automatic)
    #expect(inventory.source == .drivers && inventory.problems == [])
    #expect(inventory.gpus.map(\.uuid) == ["GPU-a", "GPU-b", "GPU-c", "GPU-d"])
    #expect(inventory.gpus.map(\.index) == [0, 1, 2, 3])
    #expect(
      inventory.gpus.map(\.pciAddress) == ["0000:01:00.0", "0000:41:00.0", "0000:81:00.0", "0001:01:00.0"])
    #expect(inventory.gpus[2].deviceNodes == ["/dev/nvidia2", "/dev/nvidiactl", "/dev/nvidia-uvm"])
    #expect(inventory.gpus.map(\.memoryUsed) == [1, 2, 3, 4])
    #expect(inventory.gpus.map(\.utilisation) == [10, 20, 30, 40])
    #expect(inventory.gpus.map(\.temperature) == [61, 62, 63, 64])
    let first = inventory.gpus[0]
    #expect(first.name == "Fake H100" && first.memoryTotal == 85_899_345_920 && first.vendor == .nvidia)
    #expect(inventory.driverVersion == "550.54.15")
  }

  @Test("a later reading shows what has changed")
  func changes() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four)
    let reader = fake.reader()
    #expect(reader.read(.automatic).gpus.count == 4)
    try fake.show("gpu uuid=GPU-a minor=0 total=100 used=99\n")
    let inventory = reader.read(.automatic)
    #expect(inventory.gpus.map(\.uuid) == ["GPU-a"] && inventory.gpus[0].memoryUsed == 99)
  }

  /// Every call that is made for a GPU that has been named, and what it is reported as.
  private static let calls = [
    "nvmlDeviceGetName": "nvmlDeviceGetName", "nvmlDeviceGetMinorNumber": "nvmlDeviceGetMinorNumber",
    "nvmlDeviceGetMemoryInfo_v2": "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetUtilizationRates": "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetTemperature": "nvmlDeviceGetTemperature", "nvmlDeviceGetPciInfo_v3": "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetMigMode": "nvmlDeviceGetMigMode",
    "nvmlDeviceGetComputeRunningProcesses_v3": "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses_v3": "nvmlDeviceGetGraphicsRunningProcesses",
  ]

  @Test(
    "a failing call costs its value alone, and is reported with NVML's code and text", arguments: calls.sorted(by: <))
  func failingCall(function: String, reported: String) async throws {
    let fake = try await FakeNVML(state: FakeNVML.four + "fail \(function) 999 gpu=3\n")
    let inventory = fake.reader().read(.automatic)
    #expect(Set(inventory.gpus.map(\.uuid)) == ["GPU-a", "GPU-b", "GPU-c", "GPU-d"])
    #expect(inventory.gpus.filter { $0.uuid != "GPU-b" }.allSatisfy { $0.name != nil && $0.processes == [] })
    let reason = "; the driver gives no reason: the kernel's log may (`journalctl -k --grep NVRM`)"
    // Whether there are slices is more than a value.
    let named = function == "nvmlDeviceGetMigMode" ? ["GPU-b", "GPU-b, MIG devices"] : ["GPU-b"]
    #expect(
      inventory.problems.map(\.description)
        == named.map { "\($0): \(reported): Unknown Error (NVML code 999)\(reason)" })
    for harmless in [3, 13] {
      try fake.show(FakeNVML.four + "fail \(function) \(harmless)\n")
      #expect(fake.reader().read(.automatic).problems == [], "what isn't supported is no fault")
    }
  }

  @Test("codes that an operator can do something about come with what that is")
  func remedies() {
    let remedies = [
      4: "device nodes", 9: "modprobe nvidia", 12: "install NVIDIA's driver again", 15: "restart the machine",
      16: "systemctl stop ollama-pool-supervisor.socket", 18: "systemctl stop ollama-pool.target", 999: "journalctl -k",
    ]
    for (code, text) in remedies {
      let problem = InventoryProblem(subject: "call", code: Int32(code), text: "text")
      #expect(problem.remedy?.contains(text) == true, "\(code)")
      #expect(problem.description == "call: text (NVML code \(code)); \(problem.remedy ?? "")")
      #expect((problem.kind == .lost) == (code == 15) && (problem.kind == .needsReset) == (code == 16))
    }
    #expect(InventoryProblem(subject: "call", text: "text").description == "call: text")
    for (gpu, named) in [("GPU-a", "GPU-a"), ("MIG-x", "UUID"), ("GPU 3", "UUID"), (nil, "UUID")] {
      let problem = InventoryProblem(gpu: gpu, subject: "call", code: 16, text: "text")
      #expect(problem.remedy?.contains("`nvidia-smi --gpu-reset -i \(named)`") == true)
    }
  }

  @Test("a GPU that can't be named is left out, and the others stay")
  func nameless() async throws {
    for function in ["nvmlDeviceGetUUID", "nvmlDeviceGetHandleByIndex_v2"] {
      let fake = try await FakeNVML(state: FakeNVML.four + "fail \(function) 999 gpu=3\n")
      let inventory = fake.reader().read(.automatic)
      #expect(inventory.gpus.map(\.uuid) == ["GPU-a", "GPU-c", "GPU-d"])
      #expect(inventory.problems.map(\.gpu) == ["GPU 3"] && inventory.problems.map(\.code) == [999])
      #expect(inventory.problems.map(\.subject) == [function])
    }
  }

  @Test("a GPU that gets lost keeps its name and place, and says once that it is lost")
  func lost() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four)
    let reader = fake.reader()
    let before = reader.read(.automatic)
    // Lost to the handle, and lost to every call on it.
    let failures = [
      "fail nvmlDeviceGetHandleByIndex_v2 15 gpu=3\n", "fail nvmlDeviceGetUUID 15 gpu=3\n",
      Self.calls.keys.map { "fail \($0) 15 gpu=3\n" }.joined(),
    ]
    for failure in failures {
      try fake.show(FakeNVML.four + failure)
      let inventory = reader.read(.automatic)
      #expect(inventory.gpus.map(\.uuid) == before.gpus.map(\.uuid))
      #expect(inventory.gpus[1].deviceNodes == before.gpus[1].deviceNodes)
      #expect(inventory.gpus[1].memoryTotal == 85_899_345_920 && inventory.gpus[1].memoryUsed == nil)
      #expect(inventory.gpus[0] == before.gpus[0])
      #expect(inventory.problems.count == 1 && inventory.problems[0].kind == .lost)
      #expect(inventory.problems[0].gpu == "GPU-b" && inventory.problems[0].text == "GPU is lost")
    }
    try fake.show(FakeNVML.four)
    #expect(reader.read(.automatic) == before)
  }

  @Test("a count that can't be is cut short")
  func absurdCount() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four + "count 4294967295\n")
    let inventory = fake.reader().read(.automatic)
    #expect(inventory.gpus.count == 4)
    // One for each index without a GPU, and one for the count.
    #expect(inventory.problems.count == 253)
  }

  @Test("a session that a driver's reload has ended is opened again")
  func reopened() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four)
    let reader = fake.reader()
    #expect(reader.read(.automatic).gpus.count == 4)
    try fake.show(FakeNVML.four + "reload 1\n")
    let reloaded = reader.read(.automatic)
    #expect(reloaded.gpus.count == 4 && reloaded.problems == [])
    try fake.show("fail nvmlDeviceGetCount_v2 999\n")
    let failed = reader.read(.automatic)
    #expect(failed.source == .drivers && failed.gpus == [])
    #expect(failed.problems.map(\.subject) == ["nvmlDeviceGetCount_v2"] && failed.problems.map(\.code) == [999])
    try fake.show(FakeNVML.four)
    #expect(reader.read(.automatic).gpus.count == 4)
  }

  @Test("what was told before the driver was loaded anew is known where it isn't told again")
  func rememberedAcrossSessions() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four)
    let reader = fake.reader()
    let before = reader.read(.automatic)
    let failures = ["Name", "MinorNumber", "PciInfo_v3", "MemoryInfo_v2"].map { "fail nvmlDeviceGet\($0) 999\n" }
    try fake.show(FakeNVML.four + failures.joined() + "reload 1\n")
    let after = reader.read(.automatic)
    #expect(after.problems.count == 16)
    #expect(after.gpus.map(\.withoutReadings) == before.gpus.map(\.withoutReadings))
  }

  @Test("each call that is made can be tried without a GPU")
  func simulatedCalls() async throws {
    let library = try await FakeNVML().library
    let handle = try #require(dlopen(library, RTLD_NOW | RTLD_LOCAL))
    let calls = try FakeNVML.calls()
    #expect(calls.count > 20)
    for call in calls { #expect(dlsym(handle, call) != nil, "\(call)") }
  }

  @Test("the CPU is used where no driver is loaded, not where one fails")
  func initialization() async throws {
    let fake = try await FakeNVML(state: "fail nvmlInit_v2 9\n")
    let reader = fake.reader()
    let unloaded = reader.read(.automatic)
    #expect(unloaded.source == .cpu)
    #expect(unloaded.problems.map(\.subject) == ["nvmlInit_v2"] && unloaded.problems.map(\.code) == [9])
    try fake.show(FakeNVML.four + "fail nvmlInit_v2 18\n")
    let mismatched = reader.read(.automatic)
    #expect(mismatched.source == .drivers && mismatched.gpus == [] && mismatched.problems.map(\.code) == [18])
    try fake.show(FakeNVML.four)
    #expect(reader.read(.automatic).gpus.count == 4, "a driver that comes later is found")
    try fake.show("")
    let empty = reader.read(.automatic)
    #expect(empty.source == .cpu && empty.gpus == [] && empty.problems == [], "a driver without a GPU means the CPU")
  }

  @Test("a driver that has told of GPUs and is not loaded any more is no machine without one")
  func unloaded() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four)
    let reader = fake.reader()
    #expect(reader.read(.automatic).gpus.count == 4)
    try fake.show("fail nvmlInit_v2 9\nfail nvmlDeviceGetCount_v2 1\n")
    let gone = reader.read(.automatic)
    #expect(gone.source == .drivers && gone.gpus == [] && gone.problems.map(\.code) == [9])
    let problems = reader.read(.configured([ConfiguredGPU(uuid: "GPU-a")])).problems
    #expect(problems.map(\.code) == [9, nil] && problems.map(\.kind) == [.partial, .silent])
  }

  @Test("a configured GPU is not called unknown while one tells nothing of itself")
  func configuredAndSilent() async throws {
    let configured = ["GPU-a", "GPU-x"].map { ConfiguredGPU(uuid: $0) }
    let fake = try await FakeNVML(state: FakeNVML.four + "fail nvmlDeviceGetUUID 999 gpu=3\n")
    let problems = fake.reader().read(.configured(configured)).problems
    #expect(problems.map(\.gpu) == ["GPU-x"] && problems.map(\.kind) == [.silent])
    #expect(problems.map(\.subject) == ["nvmlDeviceGetUUID"])
    try fake.show(FakeNVML.four)
    #expect(fake.reader().read(.configured(configured)).problems.map(\.kind) == [.unknown])
  }

  @Test(
    "what was told of a configured GPU holds while its driver can't be asked, and it is not taken for well",
    arguments: [15, 18, 999])
  func configuredAndBroken(code: Int32) async throws {
    let state = """
      gpu uuid=GPU-a name=Fake_H100 bus=0:1:0 minor=0 total=100
      gpu uuid=GPU-b bus=0:2:0 mig=1
      mig gpu=1 index=0 uuid=MIG-x gi=7 ci=0 total=10

      """
    let fake = try await FakeNVML(state: state)
    let reader = fake.reader()
    let configured = GPUSource.configured(["MIG-x", "GPU-a"].map { ConfiguredGPU(uuid: $0) })
    let before = reader.read(configured)
    try fake.show("fail nvmlInit_v2 \(code)\nfail nvmlDeviceGetCount_v2 \(code)\n")
    let after = reader.read(configured)
    #expect(after.source == .configured && after.gpus == before.gpus.map(\.withoutReadings))
    #expect(after.problems.map(\.gpu) == [nil, "MIG-x", "GPU-a"])
    #expect(after.problems[1...].allSatisfy { $0.kind == .silent && $0.repeats(after.problems[0]) })
    #expect(Set(after.problems.map(\.remedy)).count == 1, "with what helps")
    let unmet = fake.reader().read(configured)
    #expect(unmet.gpus.map(\.uuid) == ["MIG-x", "GPU-a"], "the list is all that there is to know")
    #expect(unmet.problems.map(\.gpu) == [nil, "MIG-x", "GPU-a"], "and none of them is used")
    try fake.show(state)
    #expect(reader.read(configured) == before)
  }

  @Test("a library that is installed later is found")
  func libraryAppears() async throws {
    let files = try MachineFiles()
    defer { withExtendedLifetime(files) {} }
    let fake = try await FakeNVML()
    let library = files.root + "/libnvidia-ml.so.1"
    let reader = InventoryReader(nvmlLibrary: library, kernelDriver: "/nonexistent", root: files.root)
    #expect(reader.read(.automatic).source == .cpu)
    try files.write("garbage", to: "libnvidia-ml.so.1")
    #expect(reader.read(.automatic).source == .cpu)
    try files.write(FakeNVML.four, to: "nvml.state")
    try files.remove("libnvidia-ml.so.1")
    try files.link("libnvidia-ml.so.1", to: fake.library)
    #expect(reader.read(.automatic).gpus.count == 4)
  }

  @Test("a driver that does not tell its version is no fault")
  func version() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four + "driver 570.86.10\n")
    #expect(fake.reader().read(.automatic).driverVersion == "570.86.10")
    try fake.show(FakeNVML.four + "fail nvmlSystemGetDriverVersion 999\n")
    let inventory = fake.reader().read(.automatic)
    #expect(inventory.driverVersion == nil && inventory.problems == [] && inventory.gpus.count == 4)
  }

  @Test("an old driver shows what it can", .enabled(if: FakeNVML.compiler != nil, "\(FakeNVML.needsCompiler)"))
  func oldDriver() async throws {
    let inventory = try await FakeNVML(variant: .ancient).reader().read(.automatic)
    #expect(inventory.source == .drivers && inventory.problems == [])
    #expect(inventory.gpus.map(\.uuid) == ["GPU-old"])
    let gpu = try #require(inventory.gpus.first)
    #expect(gpu.memoryTotal == 1_000 && gpu.memoryUsed == 400)
    #expect(gpu.name == nil && gpu.deviceNodes == [] && gpu.pciAddress == nil)
    #expect(gpu.kind == .whole && gpu.processes == nil, "who uses it is not known")
    #expect(inventory.driverVersion == nil)
  }

  @Test(
    "a driver without the needed functions is reported",
    .enabled(if: FakeNVML.compiler != nil, "\(FakeNVML.needsCompiler)"))
  func uselessDriver() async throws {
    let fake = try await FakeNVML(variant: .useless)
    let text = "\(fake.library): has no nvmlDeviceGetUUID; install NVIDIA's driver 450 or a later one"
    let withoutModule = fake.reader().read(.automatic)
    #expect(withoutModule.source == .cpu && withoutModule.problems.map(\.description) == [text])
    let withModule = fake.reader(kernelDriver: "/dev/null").read(.automatic)
    #expect(withModule.source == .drivers && withModule.problems.map(\.description) == [text])
  }

  @Test("readings from many threads agree")
  func concurrency() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four)
    let reader = fake.reader()
    let counts = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<64 { group.addTask { reader.read(.automatic).gpus.count } }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(counts == Array(repeating: 4, count: 64))
  }

  @Test("a configured list keeps its order and takes from NVML what it leaves open")
  func configured() async throws {
    let fake = try await FakeNVML(state: FakeNVML.four + "fail nvmlDeviceGetTemperature 999 gpu=0\n")
    let inventory = fake.reader().read(
      .configured([
        ConfiguredGPU(uuid: "GPU-b", name: "mine", memory: 7, deviceNodes: ["/dev/nvidia9"]),
        ConfiguredGPU(uuid: "GPU-a"), ConfiguredGPU(uuid: "GPU-x"), ConfiguredGPU(uuid: "GPU-y", vendor: .amd),
      ]))
    #expect(inventory.source == .configured)
    #expect(inventory.gpus.map(\.uuid) == ["GPU-b", "GPU-a", "GPU-x", "GPU-y"])
    #expect(inventory.gpus.map(\.index) == [0, 1, 2, 3])
    #expect(inventory.gpus[0].name == "mine" && inventory.gpus[0].memoryTotal == 7)
    #expect(inventory.gpus[0].memoryUsed == 2)
    #expect(inventory.gpus[0].deviceNodes == ["/dev/nvidia9", "/dev/nvidiactl", "/dev/nvidia-uvm"])
    #expect(inventory.gpus[1].deviceNodes == ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"])
    #expect(inventory.gpus[2].deviceNodes == [] && inventory.gpus[3].vendor == .amd)
    #expect(inventory.problems.map(\.description) == ["GPU-x: gpus: NVML knows no such GPU"])
    // Others' need no NVML.
    try fake.show("fail nvmlInit_v2 999\n")
    let others = fake.reader().read(.configured([ConfiguredGPU(uuid: "GPU-y", vendor: .amd)]))
    #expect(others.gpus.map(\.uuid) == ["GPU-y"] && others.problems == [])
  }
}
