import Foundation
import TestSupport
import Testing

@testable import GPUInventory

@Suite struct KernelDriversTests {
  private func read(_ files: [String: String], links: [String: String] = [:]) throws -> KernelDrivers {
    let folder = try TemporaryDirectory()
    for (path, text) in files {
      let parent = URL(fileURLWithPath: folder.path(to: path)).deletingLastPathComponent().path
      try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
      try folder.write(text, to: path)
    }
    for (path, target) in links {
      try FileManager.default.createDirectory(
        atPath: folder.path(to: target), withIntermediateDirectories: true)
      try FileManager.default.createSymbolicLink(
        atPath: folder.path(to: path), withDestinationPath: folder.path(to: target))
    }
    defer { withExtendedLifetime(folder) {} }
    return KernelDrivers.read(root: folder.path)
  }

  @Test func `a machine without a GPU shows nothing`() throws {
    #expect(try read([:]) == KernelDrivers())
  }

  @Test func `modules, their versions and devices are told by vendor`() throws {
    let devices = "sys/bus/pci/devices"
    let drivers = try read([
      "sys/module/nvidia/version": "550.54.15\n", "sys/module/amdgpu/version": "6.8.5\n",
      "sys/class/kfd/kfd/dev": "511:0\n", "sys/module/nouveau/refcnt": "0\n", "run/nvidia-persistenced/socket": "",
      "\(devices)/0000:01:00.0/vendor": "0x10de\n", "\(devices)/0000:01:00.0/class": "0x030200\n",
      // Its sound.
      "\(devices)/0000:01:00.1/vendor": "0x10de\n", "\(devices)/0000:01:00.1/class": "0x040300\n",
      "\(devices)/0000:03:00.0/vendor": "0x1002\n", "\(devices)/0000:03:00.0/class": "0x120000\n",
      "\(devices)/0000:04:00.0/vendor": "0x8086\n", "\(devices)/0000:04:00.0/class": "0x030000\n",
      "\(devices)/0000:05:00.0/vendor": "",
    ])
    #expect(drivers.nvidia == "550.54.15" && drivers.amdgpu == "6.8.5")
    #expect(drivers.hasKFD && drivers.hasNouveau && drivers.hasPersistenceDaemon)
    #expect(drivers.nvidiaDevices == ["0000:01:00.0"] && drivers.amdDevices == ["0000:03:00.0"])
  }

  @Test func `what has another driver is not for computing`() throws {
    let devices = "sys/bus/pci/devices"
    let vendors = ["0x10de": ["nvidia", "nouveau", "vfio-pci"], "0x1002": ["amdgpu", "radeon", "vfio-pci"]]
    for (vendor, drivers) in vendors {
      for driver in drivers {
        let read = try read(
          ["\(devices)/0000:01:00.0/vendor": vendor, "\(devices)/0000:01:00.0/class": "0x030000"],
          links: ["\(devices)/0000:01:00.0/driver": "sys/bus/pci/drivers/\(driver)"])
        let isOther = ["radeon", "vfio-pci"].contains(driver)
        #expect((read.nvidiaDevices + read.amdDevices).isEmpty == isOther, "\(driver)")
      }
    }
  }

  @Test func `the module's version is in procfs, too, and may be missing`() throws {
    let text =
      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12\n"
    #expect(try read(["proc/driver/nvidia/version": text]).nvidia == "550.54.15")
    #expect(try read(["proc/driver/nvidia/version": "nonsense"]).nvidia == "")
    #expect(try read(["sys/module/amdgpu/refcnt": "1"]).amdgpu == "")
  }
}

@Suite(.enabled(if: FakeNVML.compiler != nil, Comment(rawValue: FakeNVML.needsCompiler)))
struct GPUEventTrialTests {
  private static let state = """
    driver 550.54.15
    gpu uuid=GPU-a bus=00000000:01:00.0 minor=0 total=100
    gpu uuid=GPU-b bus=00000000:02:00.0 minor=1 total=100

    """

  private func gpus(_ fake: FakeNVML) -> [GPU] {
    InventoryReader(nvmlLibrary: fake.library, root: "/nowhere").read(.automatic).gpus
  }

  @Test func `GPUs that have events are told, and let go again`() async throws {
    let fake = try await FakeNVML(state: Self.state)
    for _ in 0..<3 {
      let (registered, problem) = GPUEventSource.trial(gpus(fake), nvmlLibrary: fake.library)
      #expect(registered == ["GPU-a", "GPU-b"] && problem == nil)
    }
    #expect(GPUEventSource.trial([], nvmlLibrary: "/nowhere").problem == nil)
    var slice = GPU(index: 0, uuid: "MIG-x", vendor: .nvidia)
    slice.kind = .slice(of: "GPU-b", gpuInstance: 1, computeInstance: 0)
    #expect(GPUEventSource.trial([slice], nvmlLibrary: fake.library).registered == ["GPU-b"])
    let amd = GPU(index: 0, uuid: "GPU-1", vendor: .amd)
    #expect(GPUEventSource.trial([amd], nvmlLibrary: "/nowhere").problem == nil)
  }

  @Test func `one that refuses is told with its code`() async throws {
    let fake = try await FakeNVML(state: Self.state + "fail nvmlDeviceRegisterEvents 4 gpu=1\n")
    let (registered, problem) = GPUEventSource.trial(gpus(fake), nvmlLibrary: fake.library)
    #expect(registered == ["GPU-a"] && problem?.gpu == "GPU-b" && problem?.code == 4)
    try fake.show(Self.state + "fail nvmlEventSetCreate 999\n")
    #expect(GPUEventSource.trial(gpus(fake), nvmlLibrary: fake.library).problem?.subject == "nvmlEventSetCreate")
    #expect(GPUEventSource.trial(gpus(fake), nvmlLibrary: "/nowhere").problem?.subject == "/nowhere")
  }
}
