import TestSupport
import Testing

@testable import GPUInventory

/// A GPU that is divided into slices, between two that aren't.
struct MIGTests {
  /// Slices 0, 3 and 6 of seven: the others were deleted.
  private static let state = """
    gpu uuid=GPU-a bus=0:81:0 minor=0 used=1 temp=50
    gpu uuid=GPU-b name=Fake_A100 bus=0:41:0 minor=5 mig=1 total=40000 temp=60
    gpu uuid=GPU-c bus=0:1:0 minor=2 used=3
    mig gpu=1 index=0 uuid=MIG-x name=Fake_A100_MIG_1g total=5000 used=10 gi=7 ci=0
    mig gpu=1 index=3 uuid=MIG-y name=Fake_A100_MIG_2g total=10000 used=20 gi=3 ci=0
    mig gpu=1 index=6 uuid=MIG-z name=Fake_A100_MIG_2g total=10000 used=30 gi=3 ci=1
    proc gpu=1 pid=70 used=700 gi=7 ci=0
    proc gpu=1 pid=30 used=300 gi=3 ci=0
    proc gpu=1 pid=31 used=310 gi=3 ci=1 graphics=1

    """

  /// The files in which the driver tells the minor numbers of the slices' nodes.
  private static func capabilities() throws -> MachineFiles {
    let files = try MachineFiles()
    let folder = "proc/driver/nvidia/capabilities/gpu5/mig"
    for (name, minor) in [("gi7", 66), ("gi7/ci0", 67), ("gi3", 30), ("gi3/ci0", 31), ("gi3/ci1", 32)] {
      let text = "DeviceFileMinor: \(minor)\nDeviceFileMode: 292\nDeviceFileModify: 1\n"
      try files.write(text, to: "\(folder)/\(name)/access")
    }
    try files.link("sys/bus/pci/devices/0000:41:00.0", to: "../../../devices/pci0000:40/0000:41:00.0")
    try files.write("1\n", to: "sys/devices/pci0000:40/0000:41:00.0/numa_node")
    try files.write("4-7\n", to: "sys/devices/pci0000:40/0000:41:00.0/local_cpulist")
    return files
  }

  @Test("its slices follow it, without the gaps, each with what a process on it needs")
  func slices() async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let inventory = try await FakeNVML(state: Self.state).reader(root: files.root).read(.automatic)
    #expect(inventory.problems == [])
    #expect(inventory.gpus.map(\.uuid) == ["GPU-c", "GPU-b", "MIG-x", "MIG-y", "MIG-z", "GPU-a"])
    #expect(inventory.gpus.map(\.index) == [0, 1, 2, 3, 4, 5])
    #expect(
      inventory.gpus.map(\.kind) == [
        .whole, .divided, .slice(of: "GPU-b", gpuInstance: 7, computeInstance: 0),
        .slice(of: "GPU-b", gpuInstance: 3, computeInstance: 0),
        .slice(of: "GPU-b", gpuInstance: 3, computeInstance: 1), .whole,
      ])
    let common = ["/dev/nvidia5", "/dev/nvidiactl", "/dev/nvidia-uvm"]
    #expect(inventory.gpus[1].deviceNodes == common)
    let nodes = [(66, 67), (30, 31), (30, 32)].map { gpu, compute in
      common + ["/dev/nvidia-caps/nvidia-cap\(gpu)", "/dev/nvidia-caps/nvidia-cap\(compute)"]
    }
    #expect(inventory.gpus[2...4].map(\.deviceNodes) == nodes)
    #expect(inventory.gpus[2...4].map(\.memoryTotal) == [5000, 10000, 10000])
    #expect(inventory.gpus[2...4].map(\.memoryUsed) == [10, 20, 30])
    #expect(inventory.gpus[2...4].map(\.name) == ["Fake A100 MIG 1g", "Fake A100 MIG 2g", "Fake A100 MIG 2g"])
    for gpu in inventory.gpus[1...4] {
      #expect(gpu.numaNode == 1 && gpu.localCPUs?.description == "4-7" && gpu.pciAddress == "0000:41:00.0")
      #expect(gpu.pciPath == ["pci0000:40", "0000:41:00.0"] && gpu.temperature == 60 && gpu.utilisation == nil)
    }
  }

  @Test(
    "processes are told apart by slice, whichever of the two lists the driver gives",
    arguments: ["", "mig=-1", "mig=0", "both"])
  func processes(silent: String) async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let refusals = ["Compute", "Graphics"].map { kind in
      // A driver refuses the GPU's list to some, or has none for slices.
      switch silent {
      case "": ""
      case "mig=-1": "fail nvmlDeviceGet\(kind)RunningProcesses_v3 4 gpu=1 mig=-1\n"
      case "mig=0": [0, 3, 6].map { "fail nvmlDeviceGet\(kind)RunningProcesses_v3 3 gpu=1 mig=\($0)\n" }.joined()
      default: "fail nvmlDeviceGet\(kind)RunningProcesses_v3 3 gpu=1\n"
      }
    }.joined()
    let inventory = try await FakeNVML(state: Self.state + refusals).reader(root: files.root)
      .read(.automatic)
    #expect(inventory.problems == [])
    let isKnown = silent != "both"
    let (x, y, z) = (
      GPUProcess(pid: 70, memory: 700), GPUProcess(pid: 30, memory: 300), GPUProcess(pid: 31, memory: 310)
    )
    #expect(inventory.gpus[1...4].map(\.processes) == (isKnown ? [[y, z, x], [x], [y], [z]] : [nil, nil, nil, nil]))
    #expect(inventory.gpus[0].processes == [])
  }

  @Test("that the memory of all slices together is not for everybody is no fault", arguments: ["", " mig=0"])
  func memoryOfAll(slice: String) async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let refusal = "fail nvmlDeviceGetMemoryInfo_v2 4 gpu=1\(slice.isEmpty ? " mig=-1" : slice)\n"
    let inventory = try await FakeNVML(state: Self.state + refusal).reader(root: files.root).read(.automatic)
    let isOfSlice = !slice.isEmpty
    #expect(inventory.problems.map(\.gpu) == (isOfSlice ? ["MIG-x"] : []))
    #expect(inventory.gpus[1...3].map(\.memoryUsed) == (isOfSlice ? [0, nil, 20] : [nil, 10, 20]))
  }

  @Test(
    "a call that fails costs the slice, or the slices, that it is about",
    arguments: [
      "nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex", "nvmlDeviceGetGpuInstanceId",
      "nvmlDeviceGetComputeInstanceId", "nvmlDeviceGetUUID",
    ])
  func failures(function: String) async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let isOfSlice = !function.contains("Mig")
    let fake = try await FakeNVML(state: Self.state)
    let fresh = fake.reader(root: files.root)
    let failure = "fail \(function) 999 gpu=1\(isOfSlice ? " mig=3" : "")\n"
    try fake.show(Self.state + failure)
    let inventory = fresh.read(.automatic)
    #expect(inventory.gpus.map(\.uuid) == ["GPU-c", "GPU-b"] + (isOfSlice ? ["MIG-x", "MIG-z"] : []) + ["GPU-a"])
    #expect(inventory.problems.allSatisfy { $0.code == 999 && $0.subject == function })
    #expect(inventory.problems.count == (isOfSlice ? 1 : 2))
    #expect(inventory.incompleteness?.subject == function, "others may be there")

    // Who has read them before knows them still.
    let reader = fake.reader(root: files.root)
    try fake.show(Self.state)
    let before = reader.read(.automatic)
    try fake.show(Self.state + failure)
    let after = reader.read(.automatic)
    if isOfSlice, function == "nvmlDeviceGetUUID" {
      #expect(after.gpus.map(\.uuid) == ["GPU-c", "GPU-b", "MIG-x", "MIG-z", "GPU-a"])
      #expect(after.problems.map(\.gpu) == ["GPU-b, MIG device 3"])
    } else {
      #expect(after.gpus.map(\.uuid) == before.gpus.map(\.uuid))
      #expect(after.problems.map(\.gpu) == (isOfSlice ? [] : ["GPU-b", "MIG-x", "MIG-y", "MIG-z"]))
    }
    try fake.show(Self.state)
    #expect(reader.read(.automatic) == before)
  }

  @Test("a GPU that gets lost takes its slices along, and says so of each")
  func lost() async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let fake = try await FakeNVML(state: Self.state)
    let reader = fake.reader(root: files.root)
    let before = reader.read(.automatic)
    for function in ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID", "nvmlDeviceGetName"] {
      var failure = "fail \(function) 15 gpu=1\n"
      if function == "nvmlDeviceGetName" {
        failure += ["MemoryInfo_v2", "MigMode", "MaxMigDeviceCount"].map { "fail nvmlDeviceGet\($0) 15 gpu=1\n" }
          .joined()
      }
      try fake.show(Self.state + failure)
      let inventory = reader.read(.automatic)
      #expect(inventory.gpus.map(\.uuid) == before.gpus.map(\.uuid))
      #expect(inventory.gpus.map(\.kind) == before.gpus.map(\.kind))
      #expect(inventory.gpus.map(\.deviceNodes) == before.gpus.map(\.deviceNodes))
      #expect(inventory.gpus[1...4].allSatisfy { $0.memoryUsed == nil })
      #expect(inventory.problems.map(\.gpu) == ["GPU-b", "MIG-x", "MIG-y", "MIG-z"])
      #expect(inventory.problems.allSatisfy { $0.kind == .lost })
      #expect(inventory.gpus[0] == before.gpus[0] && inventory.gpus[5] == before.gpus[5])
    }
    try fake.show(Self.state)
    #expect(reader.read(.automatic) == before)
  }

  @Test(
    "slices are known by what was told before the driver was loaded anew",
    arguments: [
      "nvmlDeviceGetMigMode", "nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex",
      "nvmlDeviceGetMinorNumber", "nvmlDeviceGetGpuInstanceId",
    ])
  func reloaded(function: String) async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let fake = try await FakeNVML(state: Self.state)
    let reader = fake.reader(root: files.root)
    let before = reader.read(.automatic)
    for number in 1...2 {
      try fake.show(Self.state + "fail \(function) 999 gpu=1\nreload \(number)\n")
      let after = reader.read(.automatic)
      #expect(after.gpus.map(\.uuid) == before.gpus.map(\.uuid) && after.gpus.map(\.kind) == before.gpus.map(\.kind))
      #expect(after.gpus.map(\.deviceNodes) == before.gpus.map(\.deviceNodes))
    }
    // Its number may be another one then.
    let renumbered = Self.state.replacing("minor=5", with: "minor=6")
    try fake.show(renumbered + "reload 3\n")
    #expect(reader.read(.automatic).gpus[2...4].allSatisfy { !$0.deviceNodes.contains("/dev/nvidia5") })
  }

  @Test("where it was never told whether GPUs are divided, slices may be there")
  func unknownDivision() async throws {
    let fake = try await FakeNVML(state: Self.state + "fail nvmlDeviceGetMigMode 999\n")
    let reader = fake.reader()
    for _ in 0..<2 {
      let inventory = reader.read(.automatic)
      #expect(inventory.gpus.map(\.kind) == [.whole, .whole, .whole])
      #expect(inventory.incompleteness?.subject == "nvmlDeviceGetMigMode")
    }
    try fake.show(Self.state + "fail nvmlDeviceGetMigMode 3\n")
    #expect(reader.read(.automatic).incompleteness == nil)
    try fake.show(Self.state + "fail nvmlDeviceGetMigMode 999\n")
    #expect(reader.read(.automatic).incompleteness == nil, "that doesn't change")
  }

  @Test("slices come and go, and so does the division")
  func changes() async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let fake = try await FakeNVML(state: Self.state)
    let reader = fake.reader(root: files.root)
    #expect(reader.read(.automatic).gpus.count == 6)
    let lines = Self.state.split(separator: "\n").filter { !$0.contains("MIG-y") }.joined(separator: "\n") + "\n"
    try fake.show(lines)
    #expect(reader.read(.automatic).gpus.map(\.uuid) == ["GPU-c", "GPU-b", "MIG-x", "MIG-z", "GPU-a"])
    try fake.show(lines.split(separator: "\n").filter { $0.hasPrefix("gpu") }.joined(separator: "\n") + "\n")
    let empty = reader.read(.automatic)
    #expect(empty.gpus.map(\.kind) == [.whole, .divided, .whole] && empty.gpus[1].processes == [])
    try fake.show("gpu uuid=GPU-a\ngpu uuid=GPU-b\n")
    #expect(reader.read(.automatic).gpus.map(\.kind) == [.whole, .whole])
  }

  @Test("a slice whose nodes aren't known is told, and the others have theirs", arguments: ["", "nonsense\n", "\u{0}"])
  func withoutCapabilities(text: String) async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let file = "proc/driver/nvidia/capabilities/gpu5/mig/gi3/ci0/access"
    try files.write(text, to: file)
    let inventory = try await FakeNVML(state: Self.state).reader(root: files.root).read(.automatic)
    #expect(inventory.gpus[2...4].map(\.deviceNodes.count) == [5, 0, 5])
    #expect(inventory.problems.map(\.gpu) == ["MIG-y"] && inventory.problems[0].subject == "/" + file)
  }

  @Test("a process that occupies a slice is on it and on its GPU")
  func occupation() async throws {
    let files = try Self.capabilities()
    defer { withExtendedLifetime(files) {} }
    let fake = try await FakeNVML(state: Self.state)
    let program = try fake.occupy("MIG-z", bytes: 1000)
    let process = GPUProcess(pid: program.processID, memory: 1000)
    let reader = fake.reader(root: files.root)
    try await eventually("it is on both") {
      reader.read(.automatic).gpus.map { $0.processes?.contains(process) } == [false, true, false, false, true, false]
    }
    #expect(reader.read(.automatic).gpus[1...4].map(\.memoryUsed) == [1000, 10, 20, 1030])
    _ = try await program.stop()
  }
}
