import Testing
import TestSupport

@testable import GPUInventory

@Suite struct WithoutNVMLTests {
  private static let reader = InventoryReader(
    nvmlLibrary: "/nonexistent/libnvidia-ml.so.1", kernelDriver: "/nonexistent", root: "/nonexistent")

  @Test("without a driver the CPU is used, and the reason is said")
  func missing() {
    let inventory = Self.reader.read(.automatic)
    #expect(inventory.source == .cpu && inventory.gpus == [])
    #expect(inventory.problems.count == 1 && inventory.problems[0].subject == "/nonexistent/libnvidia-ml.so.1")
    #expect(inventory.problems[0].text.contains("cannot open shared object file"))
  }

  @Test("with a kernel module and no library there is no quiet fall-back to the CPU")
  func libraryMissing() {
    let reader = InventoryReader(
      nvmlLibrary: "/nonexistent/libnvidia-ml.so.1", kernelDriver: "/dev/null", root: "/nonexistent")
    let inventory = reader.read(.automatic)
    #expect(inventory.source == .drivers && inventory.gpus == [] && inventory.problems.count == 1)
  }

  @Test("with a kernel module and no library listed GPUs are used, and nothing that is not listed counts as certain")
  func libraryMissingForListedGPUs() {
    let reader = InventoryReader(
      nvmlLibrary: "/nonexistent/libnvidia-ml.so.1", kernelDriver: "/dev/null", root: "/nonexistent")
    let inventory = reader.read(.configured([ConfiguredGPU(uuid: "GPU-a"), ConfiguredGPU(uuid: "GPU-b")]))
    #expect(inventory.problems.map(\.gpu) == [nil, "GPU-a", "GPU-b"])
    #expect(inventory.problems.allSatisfy { $0.kind == .partial && $0.text.contains("cannot open shared object") })
    #expect(inventory.problems[1].repeats(inventory.problems[0]))
  }

  @Test("garbage in the library's place is reported, not run")
  func garbage() throws {
    let folder = try TemporaryDirectory()
    for text in ["", "garbage\n", "\u{7f}ELF" + String(repeating: "x", count: 10_000)] {
      let library = try folder.write(text, to: "libnvidia-ml.so.1")
      let inventory = InventoryReader(nvmlLibrary: library, kernelDriver: "/nonexistent", root: "/nonexistent").read(
        .automatic)
      #expect(inventory.source == .cpu && inventory.problems.count == 1)
    }
  }

  @Test("cpu asks nobody")
  func cpu() {
    #expect(Self.reader.read(.cpu) == Inventory(source: .cpu))
  }

  @Test("a configured list needs no driver")
  func configured() {
    let inventory = Self.reader.read(
      .configured([
        ConfiguredGPU(
          uuid: "GPU-a", memory: 1, pciAddress: "0000:02:00.0", deviceNodes: ["/dev/nvidia0", "/dev/nvidiactl"]),
        ConfiguredGPU(uuid: "GPU-b", vendor: .amd, deviceNodes: ["/dev/dri/renderD128"]),
      ]))
    #expect(inventory.source == .configured && inventory.problems == [])
    #expect(inventory.gpus[0].deviceNodes == ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"])
    #expect(inventory.gpus[0].memoryTotal == 1 && inventory.gpus[0].pciAddress == "0000:02:00.0")
    #expect(inventory.gpus[1].deviceNodes == ["/dev/dri/renderD128", "/dev/kfd"])
  }

  @Test("missing device nodes are told")
  func missingNodes() {
    var gpu = GPU(index: 0, uuid: "GPU-a", vendor: .nvidia)
    gpu.deviceNodes = ["/dev/null", "/dev/nvidia-none"]
    #expect(gpu.missingDeviceNodes() == ["/dev/nvidia-none"])
  }
}
