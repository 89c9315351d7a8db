import ControlInterface
import Dispatch
import GPUInventory
import Launching
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Supervisor

/// With the GPUs that a driver shows.
struct GPUTests {
  private static func gpu(_ name: String, bus: Int) -> String {
    "gpu uuid=GPU-\(name) name=Fake_H100 bus=00000000:\(bus)1:00.0 minor=\(bus) total=85899345920 used=5 util=7 temp=40\n"
      // So that nobody looks for nodes that no test machine has.
      + "fail nvmlDeviceGetMinorNumber 3\n"
  }

  private func reader(_ fake: FakeNVML) -> InventoryReader {
    InventoryReader(nvmlLibrary: fake.library, kernelDriver: "/nonexistent", root: "/nonexistent")
  }

  @Test func aGPUKeepsItsNameWhenAnotherComesBeforeIt() async throws {
    let fake = try await FakeNVML(state: Self.gpu("b", bus: 4) + Self.gpu("c", bus: 8))
    let stage = try Stage("scaling: {min: 2}\n")
    let first = try await stage.start(inventory: reader(fake))
    try await stage.running("gpu0", "gpu1")
    await first.stop(instances: .stop)

    try fake.show(Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4) + Self.gpu("c", bus: 8))
    let launcher = ScriptedLauncher()
    let second = try await stage.start(launcher, inventory: reader(fake))
    let status = try await stage.status()
    #expect(
      status.instances.map { "\($0.id) \($0.gpus)" } == ["gpu0 [\"GPU-b\"]", "gpu1 [\"GPU-c\"]", "gpu2 [\"GPU-a\"]"])
    #expect(status.gpus.map { "\($0.number) \($0.uuid)" } == ["0 GPU-b", "1 GPU-c", "2 GPU-a"])
    #expect(status.gpus[0].memoryTotalBytes == 85_899_345_920 && status.gpus[0].temperatureCelsius == 40)
    await second.stop(instances: .stop)
  }

  @Test func aDriverThatCannotBeAskedForAWhileCostsNoInstance() async throws {
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4))
    let stage = try Stage("scaling: {min: 2}\n")
    let daemon = try await stage.start(inventory: reader(fake))
    try await stage.running("gpu0", "gpu1")
    try fake.show("fail nvmlInit_v2 999\nfail nvmlDeviceGetCount_v2 999\n")
    await daemon.readGPUs()
    try await daemon.reload()
    #expect(try await stage.status().instances.map(\.id) == ["gpu0", "gpu1"])
    #expect(try await stage.status().instances.allSatisfy { $0.state == .starting })
    // Also where nothing is to be started, it is told, and once.
    try await stage.tells("GPUs and placements: nvmlInit_v2: Unknown Error (NVML code 999)")
    await daemon.readGPUs()
    let status = try await stage.status()
    #expect(status.problems.count == 1 && status.problems.allSatisfy { $0.contains("NVML code 999") })
    #expect(status.gpus.allSatisfy { $0.state == .failed && $0.problem == nil }, "\(status.gpus)")
    try fake.show(Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4))
    await daemon.readGPUs()
    #expect(try await stage.status().problems == [])
    await daemon.stop(instances: .stop)
  }

  @Test func aSupervisorThatStartsWhileTheDriverFailsLeavesWhatRunsAlone() async throws {
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4))
    let stage = try Stage("scaling: {min: 2, window: 1s, shrink: 100%, idle_hold: 1s}\n")
    try await stage.startDispatcher()
    let first = try await stage.start(inventory: reader(fake))
    // What is not ready yet would be taken back.
    try await eventually(within: patience, "two are ready") { await first.fleet.ready == 2 }
    await first.stop(instances: .leave)

    // All of it, then a single GPU.
    for failure in ["fail nvmlInit_v2 18\n", "fail nvmlDeviceGetUUID 999 gpu=1\n"] {
      try fake.show(Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4) + failure)
      let launcher = stage.launcher.successor()
      let daemon = try await stage.start(launcher, inventory: reader(fake))
      try await eventually(within: patience, "both are told of") { stage.told(.core) == ["gpu0", "gpu1"] }
      let since = await daemon.ticks
      try await eventually(within: patience, "three ticks") { await daemon.ticks >= since + 3 }
      try await daemon.reload()
      #expect(launcher.world.units.keys.sorted() == ["gpu0", "gpu1"] && launcher.world.orders == [])
      #expect(stage.told(.draining) == [])
      await daemon.stop(instances: .leave)
    }

    // Now it is known that one is gone.
    try fake.show(Self.gpu("a", bus: 0) + "fail nvmlInit_v2 18\n")
    let launcher = stage.launcher.successor()
    let last = try await stage.start(launcher, inventory: reader(fake))
    try await eventually(within: patience, "both are told of") { stage.told(.core) == ["gpu0", "gpu1"] }
    try fake.show(Self.gpu("a", bus: 0))
    await last.readGPUs()
    try await eventually(within: patience, "gpu0 is left") {
      stage.dispatcher.change { _ in }
      return launcher.world.units.keys.sorted() == ["gpu0"]
    }
    try await stage.tells("gpu1 drains: its placement is no longer configured")
    await last.stop(instances: .stop)
    await stage.dispatcher.stop()
    #expect(launcher.world.violations == [])
  }

  @Test(arguments: try FakeNVML.calls().sorted())
  func aSupervisorThatStartsWhileACallFailsLeavesWhatRunsAlone(_ call: String) async throws {
    let state = """
      gpu uuid=GPU-a bus=00000000:01:00.0
      gpu uuid=GPU-b bus=00000000:41:00.0 mig=1
      mig gpu=1 index=3 uuid=MIG-b gi=7

      """
    let fake = try await FakeNVML(state: state)
    let stage = try Stage("context_length: 4096\nscaling: {min: 2, window: 1s, shrink: 100%, idle_hold: 1s}\n")
    try await stage.startDispatcher()
    let first = try await stage.start(inventory: reader(fake))
    try await eventually(within: patience, "two are ready") { await first.fleet.ready == 2 }
    await first.stop(instances: .leave)

    try fake.show(state + "fail \(call) 999\n")
    let launcher = stage.launcher.successor()
    let second = try await stage.start(
      launcher, inventory: reader(fake),
      gpuEvents: GPUEventSource(nvmlLibrary: fake.library, retryPause: .milliseconds(20)))
    try await eventually(within: patience, "both are told of") { stage.told(.core) == ["gpu0", "gpu1.7"] }
    let since = await second.ticks
    try await eventually(within: patience, "three ticks") {
      await second.readGPUs()
      return await second.ticks >= since + 3
    }
    try await second.reload()
    #expect(launcher.world.units.keys.sorted() == ["gpu0", "gpu1.7"] && launcher.world.orders == [])
    #expect(stage.told(.draining) == [])
    try fake.show(state)
    try await eventually(within: patience, "all is well") {
      await second.readGPUs()
      return try await stage.status().problems == []
    }
    #expect(launcher.world.orders == [] && stage.told(.core) == ["gpu0", "gpu1.7"])
    await second.stop(instances: .stop)
    await stage.dispatcher.stop()
  }

  @Test func aReloadDoesNotWaitForADriverThatHangs() async throws {
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0))
    let stage = try Stage("scaling: {min: 1}\n")
    let daemon = try await stage.start(inventory: reader(fake), gpuPatience: .milliseconds(200))
    try await stage.running("gpu0")
    let release = try fake.hang()
    stage.configure("scaling: {min: 0}\n")
    try await daemon.reload()
    try await stage.tells("configuration reloaded")
    stage.configure("gpus: [{uuid: GPU-a}]\n")
    await #expect(throws: ConfigurationError.self) { try await daemon.reload() }
    try await stage.tells("gpus: the GPUs have not answered within 0.2 s")
    #expect(stage.launcher.world.units.count == 1)
    // What takes no driver does not wait for one.
    stage.configure("gpus: cpu\nscaling: {min: 0}\n")
    try await daemon.reload()
    #expect(try await stage.status().inventory == .cpu)
    try release()
    await daemon.stop(instances: .stop)
  }

  @Test func aProcessOnAGPUThatHangsCostsNoMoreThanTheArguments() async throws {
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0) + "proc gpu=0 pid=1234 used=1MiB\n")
    let stage = try Stage("scaling: {min: 0}\n")
    stage.launcher.change { $0.processes[1234] = .other(command: "train") }
    let daemon = try await stage.start(inventory: reader(fake), gpuPatience: .milliseconds(200))
    func commands() async throws -> [String?] {
      await daemon.readGPUs()
      return try await stage.status().gpus.flatMap { $0.processes ?? [] }.map(\.command)
    }
    #expect(try await commands() == ["train"])
    let (arguments, owners) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    stage.launcher.change { $0.argumentAnswers = arguments }
    // More often than there are threads that could wait for it.
    for _ in 0..<64 { #expect(try await commands() == ["train"]) }
    #expect(stage.journal.count { $0.contains("/proc: does not tell within 0.2 s the command of each process") } == 1)
    stage.launcher.change { $0.ownerAnswers = owners }
    for _ in 0..<64 { #expect(try await commands() == [nil]) }
    #expect(stage.journal.count { $0.contains("/proc: does not tell within 0.2 s whose the processes") } == 1)
    owners.signal()
    try await eventually(within: patience, "it is named again") { try await commands() == ["train"] }
    #expect(try await stage.status().problems.contains { $0.contains("the command of each process") })
    arguments.signal()
    try await eventually(within: patience, "all is told again") {
      await daemon.readGPUs()
      return try await stage.status().problems.isEmpty
    }
    await daemon.stop(instances: .stop)
  }

  @Test func aSupervisorThatStartsWhileTheDriverHangsAdoptsWhatRunsAndAsksAgain() async throws {
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4))
    let stage = try Stage("scaling: {min: 2}\n")
    try await stage.startDispatcher()
    let first = try await stage.start(inventory: reader(fake))
    try await eventually(within: patience, "two are ready") { await first.fleet.ready == 2 }
    await first.stop(instances: .leave)

    let release = try fake.hang()
    let launcher = stage.launcher.successor()
    let second = try await stage.start(launcher, inventory: reader(fake), gpuPatience: .milliseconds(200))
    try await stage.tells("the driver has not answered within 0.2 s")
    try await eventually(within: patience, "both are told of") { stage.told(.core) == ["gpu0", "gpu1"] }
    let since = await second.ticks
    try await eventually(within: patience, "three ticks") { await second.ticks >= since + 3 }
    #expect(launcher.world.orders == [] && stage.told(.draining) == [])
    #expect(try await stage.status().problems.contains { $0.contains("see `nvidia-smi`") })

    try release()
    try fake.show(Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4))
    await second.readGPUs()
    try await stage.tells("other GPUs are there than before: 2 GPUs found")
    #expect(try await stage.status().problems == [])
    #expect(launcher.world.orders == [])
    await second.stop(instances: .stop)
    await stage.dispatcher.stop()
  }

  @Test func whoAsksWhileTheDriverHangsIsAnsweredAndHoldsNothingUp() async throws {
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0))
    let stage = try Stage("scaling: {min: 1}\n")
    let daemon = try await stage.start(inventory: reader(fake))
    try await stage.running("gpu0")
    let release = try fake.hang()
    let (since, begin) = (await daemon.ticks, ContinuousClock.now)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<60 {
        group.addTask {
          let shown = try await stage.status().gpus.map(\.uuid)
          #expect(shown == ["GPU-a"])
        }
      }
      try await group.waitForAll()
    }
    // One after the other they would take half a minute.
    #expect(ContinuousClock.now - begin < .seconds(15))
    try await eventually(within: .seconds(15), "three ticks") { await daemon.ticks >= since + 3 }
    try release()
    await daemon.stop(instances: .stop)
  }

  @Test func aGPUThatIsAwayAnywayRefusesNoReload() async throws {
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4))
    let placements = "placements:\n- {gpus: [GPU-a]}\n- {gpus: [GPU-b]}\n"
    let stage = try Stage("scaling: {min: 2}\n" + placements)
    let daemon = try await stage.start(inventory: reader(fake))
    try await stage.running("gpu0", "gpu1")
    // It falls off the bus, and the file is edited: first above the placements, so that they move.
    try fake.show(Self.gpu("a", bus: 0))
    for text in ["slots: 2\nscaling: {min: 1}\n", "scaling: {min: 1}\n"] {
      stage.configure(text + placements)
      try await daemon.reload()
      #expect(
        try await stage.status().problems.contains { $0.contains("GPU-b: gpus: it was there, and is not any more") })
    }
    // What is named for the first time has to be there.
    stage.configure(placements + "- {gpus: [GPU-c]}\n")
    let error = try await #require(throws: ConfigurationError.self) { try await daemon.reload() }
    #expect(error.description.contains("placements[2].gpus: GPU-c is not there"))
    #expect(!error.description.contains("GPU-b"))
    await daemon.stop(instances: .stop)
  }

  @Test func whatTheDriverDoesNotTellOfOneProcessIsNotKnownOfAll() async throws {
    let processes =
      "proc gpu=0 pid=11 used=3000\nproc gpu=0 pid=12 used=18446744073709551615\nproc gpu=0 pid=13 used=5\n"
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0) + processes)
    let stage = try Stage("scaling: {min: 0}\n")
    stage.launcher.change {
      $0.processes = [11: .other(command: "python3"), 12: .other(command: "python3"), 13: .instance("gpu0")]
    }
    let daemon = try await stage.start(inventory: reader(fake))
    let gpu = try #require(try await stage.status().gpus.first)
    #expect(gpu.processes?.map(\.memoryBytes) == [3000, nil, 5])
    #expect(gpu.memoryOthersBytes == nil && gpu.memoryOursBytes == 5)
    // Nor is it known whose it is, where one can't be named.
    stage.launcher.change { $0.processes[13] = .unknown }
    try await eventually(within: patience, "nothing is said of ours") {
      let gpu = try await stage.status().gpus.first
      return gpu?.memoryOursBytes == nil && gpu?.memoryOthersBytes == nil && gpu?.processes?.count == 3
    }
    await daemon.stop(instances: .stop)
  }

  @Test func aDriverThatIsNotReadyYetIsAskedAgain() async throws {
    let fake = try await FakeNVML(state: "fail nvmlInit_v2 999\n")
    let stage = try Stage("scaling: {min: 1}\n")
    let daemon = try await stage.start(inventory: reader(fake))
    let status = try await stage.status()
    #expect(status.instances == [] && status.problems.contains { $0.contains("nvmlInit_v2") })
    try await stage.tells("GPUs and placements: nvmlInit_v2")

    try fake.show(Self.gpu("a", bus: 0))
    await daemon.readGPUs()
    try await stage.running("gpu0")
    try await stage.tells("other GPUs are there than before: 1 GPU found")
    #expect(try await stage.status().problems == [])
    await daemon.stop(instances: .stop)
  }
}
