import ControlInterface
import GPUInventory
import PoolCore
import TestSupport
import Testing

@testable import Supervisor

/// With the GPUs that a driver shows.
@Suite(.enabled(if: FakeNVML.compiler != nil, "\(FakeNVML.needsCompiler)"))
struct GPUTests {
  private static func gpu(_ name: String, bus: Int) -> String {
    "gpu uuid=GPU-\(name) name=Fake_H100 bus=00000000:\(bus)1:00.0 minor=\(bus) total=85899345920 used=5 util=7 temp=40\n"
  }

  private func reader(_ fake: FakeNVML) -> InventoryReader {
    InventoryReader(nvmlLibrary: fake.library, kernelDriver: "/nonexistent")
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
    #expect(status.gpus[0].problem?.contains("/dev/nvidia4") == true)
    await second.stop(instances: .stop)
  }

  @Test func aDriverThatCannotBeAskedForAWhileCostsNoInstance() async throws {
    let fake = try await FakeNVML(state: Self.gpu("a", bus: 0) + Self.gpu("b", bus: 4))
    let stage = try Stage("scaling: {min: 2}\n")
    let daemon = try await stage.start(inventory: reader(fake))
    try await stage.running("gpu0", "gpu1")
    try fake.show("fail nvmlInit_v2 999\nfail nvmlDeviceGetCount_v2 999\n")
    await daemon.lookForMissingGPUs()
    try await daemon.reload()
    #expect(try await stage.status().instances.map(\.id) == ["gpu0", "gpu1"])
    #expect(try await stage.status().instances.allSatisfy { $0.state == .starting })
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
    await daemon.lookForMissingGPUs()
    try await stage.running("gpu0")
    try await stage.tells("other GPUs are there than before: 1 GPU by NVML")
    #expect(try await stage.status().problems == [])
    await daemon.stop(instances: .stop)
  }
}
