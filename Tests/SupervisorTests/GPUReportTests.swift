import GPUInventory
import PoolCore
import TestSupport
import Testing

@testable import ControlInterface
@testable import Launching
@testable import Supervisor

/// What the dispatcher is told of the GPUs, for its metrics.
@Suite struct GPUReportTests {
  /// A GPU with somebody else's program, one that is free, and one with a slice.
  private static let state = """
    gpu uuid=GPU-a name=Fake bus=00000000:01:00.0 minor=0 total=8000000000 used=3500000000 util=7 temp=40
    gpu uuid=GPU-b name=Fake bus=00000000:41:00.0 minor=1 total=8000000000 used=5 util=0 temp=30
    gpu uuid=GPU-c name=Fake bus=00000000:81:00.0 minor=2 total=8000000000 used=5 mig=1 util=0 temp=35
    mig gpu=2 index=0 uuid=MIG-c name=Slice total=1000 used=0 gi=7 ci=0
    proc gpu=0 pid=4711 used=3000000000
    fail nvmlDeviceGetMinorNumber 3

    """

  @Test(.enabled(if: FakeNVML.compiler != nil, "\(FakeNVML.needsCompiler)"))
  func theDispatcherIsToldHowItStandsWithEachGPU() async throws {
    let fake = try await FakeNVML(variant: .counting, state: Self.state)
    let stage = try Stage("scaling: {min: 0}\n")
    stage.launcher.change { $0.processes[4711] = .other(command: "python3") }
    try await stage.startDispatcher()
    let daemon = try await stage.start(
      inventory: InventoryReader(nvmlLibrary: fake.library, kernelDriver: "/nonexistent", root: "/nonexistent"),
      gpuEvents: GPUEventSource(nvmlLibrary: fake.library))
    func told(_ name: String) -> DispatcherTypes.GPU? {
      stage.dispatcher.world.report?.gpus?.first { $0.name == name }
    }
    try await eventually(within: patience, "all are told of") { told("gpu0")?.state == .busy }
    let names = stage.dispatcher.world.report?.gpus?.map { "\($0.name) \($0.state)" }
    #expect(names == ["gpu0 busy", "gpu1 free", "gpu2 divided", "gpu2.7 free"])
    let gpu0 = try #require(told("gpu0"))
    #expect(gpu0.memoryTotalBytes == 8_000_000_000 && gpu0.memoryUsedBytes == 3_500_000_000)
    #expect(gpu0.memoryOursBytes == 0 && gpu0.memoryOthersBytes == 3_000_000_000)
    #expect(gpu0.utilisationPercent == 7 && gpu0.temperatureCelsius == 40 && gpu0.faults == [])
    #expect(told("gpu2")?.memoryTotalBytes == nil, "its memory is that of its slices")

    // It falls off the bus, of which an event tells first.
    try await eventually(within: patience, "events are waited for") { fake.calls(of: "nvmlEventSetWait_v2") > 0 }
    try fake.show(Self.state + "xid gpu=1 code=79 seq=1\nfail nvmlDeviceGetMemoryInfo_v2 15 gpu=1\n")
    try await eventually(within: patience, "the fault is told of") {
      told("gpu1")?.faults == [.init(kind: "lost", count: 1), .init(kind: "xid_79", count: 1)]
    }
    #expect(told("gpu1")?.state == .quarantined && told("gpu1")?.memoryUsedBytes == nil)
    #expect(told("gpu0")?.faults == [])
    await daemon.stop(instances: .stop)
    await stage.dispatcher.stop()
  }

  @Test func anInstanceThatComputesOnTheCPUIsToldAndCounted() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await eventually(within: patience, "gpu0 is told of") {
        stage.told(.core) == ["gpu0"] && stage.dispatcher.world.report != nil
      }
      #expect(stage.dispatcher.world.report?.degraded == 0 && stage.dispatcher.world.report?.degradations == 0)
      stage.dispatcher.change {
        $0.leases["gpu0"] = 1
        $0.loaded["gpu0"] = [.init(name: "m", sizeBytes: 100, sizeOnGPUBytes: 0, contextLength: nil)]
      }
      try await eventually(within: patience, "it is told") {
        stage.dispatcher.world.report.map { $0.degraded == 1 && $0.degradations == 1 } ?? false
      }
      stage.dispatcher.change { $0.leases["gpu0"] = 0 }
      try await eventually(within: patience, "it is gone, and stays counted") {
        stage.dispatcher.world.report.map { $0.degraded == 0 && $0.degradations == 1 } ?? false
      }
    }
  }

  @Test func whatIsNotNewIsSaidAgainBeforeItIsOutOfDate() async {
    var link = LinkState()
    let orders = link.begin(at: .zero)
    let report = DispatcherCalls.ReportFleet(desired: 1, backingOff: 0, quarantined: 0, cordoned: 0)
    for second in 0...30 { link.send(fleet: report, at: .zero + .seconds(second)) }
    link.end(.init(reason: "over"))
    var sent = 0
    for await _ in orders { sent += 1 }
    #expect(sent == 4, "at 0, 10, 20 and 30 s")
  }

  @Test func aFaultThatNeedsAResetEndsWithTheBoot() {
    let faults = GPUFaults(["GPU-a": GPUFault("XID 79", .resetNeeded)], boot: "one")
    #expect(faults.standing(inBoot: "one") == ["GPU-a": GPUFault("XID 79", .resetNeeded)])
    #expect(faults.standing(inBoot: "two").isEmpty)
    #expect(!GPUFaults.presentBoot.isEmpty && GPUFaults.presentBoot == GPUFaults.presentBoot)
  }

  @Test func whatADriverMakesUpHasABound() {
    var counts = GPUFaultCounts()
    for code in 0..<100 { counts.hear(.xid(code), of: "GPU-a") }
    counts.hear(.xid(5), of: "GPU-a")
    let told = counts["GPU-a"]
    #expect(told.count == DispatcherTypes.GPUFaults.mostKinds && told.reduce(0) { $0 + $1.count } == 101)
    #expect(told.first { $0.kind == "xid_5" }?.count == 2)
    #expect(told.first { $0.kind == "other" }?.count == 100 - (DispatcherTypes.GPUFaults.mostKinds - 1))
  }

  @Test func aTroubleCountsOnceForAsLongAsItIsThere() {
    var counts = GPUFaultCounts()
    func reading(_ trouble: GPUTrouble?) -> [GPUReading] { [GPUReading(uuid: "GPU-a", trouble: trouble)] }
    let node = GPUTrouble.missingNode("/dev/nvidia0")
    for trouble in [nil, node, node, nil, node, .lost, .unanswered("one reason"), .unanswered("another")] {
      counts.read(reading(trouble), known: ["GPU-a"])
    }
    #expect(counts["GPU-a"].map { "\($0.kind) \($0.count)" } == ["lost 1", "missing_node 2", "unanswered 1"])
    counts.read([], known: ["GPU-b"])
    #expect(counts["GPU-a"] == [], "one that is not told of any more takes no room")
  }
}
