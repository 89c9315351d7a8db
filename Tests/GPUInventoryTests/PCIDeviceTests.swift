import TestSupport
import Testing

@testable import GPUInventory

/// What sysfs tells of the slots of GPUs that NVML shows.
struct PCIDeviceTests {
  private static let address = "0000:41:00.0"
  private static let real = "sys/devices/pci0000:40/0000:40:01.0/\(address)"

  private static func machine(numaNode: String?, cpus: String?) async throws -> MachineFiles {
    let files = try MachineFiles()
    try files.link("sys/bus/pci/devices/\(address)", to: "../../../../" + real)
    try files.write("0x10de\n", to: real + "/vendor")
    if let numaNode { try files.write(numaNode, to: real + "/numa_node") }
    if let cpus { try files.write(cpus, to: real + "/local_cpulist") }
    return files
  }

  private static func read(_ files: MachineFiles, nonsense: [String] = []) async throws -> GPU {
    let fake = try await FakeNVML(state: "gpu uuid=GPU-a bus=00000000:41:00.0\n")
    let inventory = withExtendedLifetime(files) { fake.reader(root: files.root).read(.automatic) }
    let folder = "/sys/bus/pci/devices/\(address)"
    #expect(inventory.problems.map(\.subject) == nonsense.map { "\(folder)/\($0)" })
    #expect(inventory.problems.allSatisfy { $0.gpu == "GPU-a" && $0.kind == .aside })
    return try #require(inventory.gpus.first)
  }

  @Test("node, CPUs and bridges are read")
  func read() async throws {
    let gpu = try await Self.read(Self.machine(numaNode: "1\n", cpus: "8-15,24-31\n"))
    #expect(gpu.numaNode == 1 && gpu.localCPUs?.description == "8-15,24-31")
    #expect(gpu.pciPath == ["pci0000:40", "0000:40:01.0", "0000:41:00.0"])
  }

  @Test(
    "what is senseless is not known and told, and costs nothing else",
    arguments: [
      ("-1\n", []), (nil, []), ("", ["numa_node"]), ("one\n", ["numa_node"]), ("99999999999\n", ["numa_node"]),
      ("1024\n", ["numa_node"]), ("-2\n", ["numa_node"]), (String(repeating: "1", count: 20_000), ["numa_node"]),
      ("\u{0}", ["numa_node"]),
    ] as [(String?, [String])])
  func nodes(numaNode: String?, nonsense: [String]) async throws {
    let gpu = try await Self.read(Self.machine(numaNode: numaNode, cpus: "8-15\n"), nonsense: nonsense)
    #expect(gpu.numaNode == nil && gpu.localCPUs?.description == "8-15" && gpu.pciPath.count == 3)
  }

  @Test(
    "a list of CPUs may be empty, and makes sense or is told",
    arguments: [
      ("\n", []), ("", []), (nil, []), ("0-\n", ["local_cpulist"]), ("0-99999999\n", ["local_cpulist"]),
      ("\u{0}1", ["local_cpulist"]), ("0,\n", ["local_cpulist"]),
    ] as [(String?, [String])])
  func cpus(list: String?, nonsense: [String]) async throws {
    let gpu = try await Self.read(Self.machine(numaNode: "1\n", cpus: list), nonsense: nonsense)
    #expect(gpu.numaNode == 1 && gpu.localCPUs == nil && gpu.pciPath.count == 3)
  }

  @Test("without sysfs all of it is not known")
  func missing() async throws {
    let gpu = try await Self.read(MachineFiles())
    #expect(gpu.pciAddress == Self.address && gpu.numaNode == nil && gpu.localCPUs == nil && gpu.pciPath == [])
  }

  @Test("a configured GPU gets it by the address that is configured, also without a driver")
  func configured() async throws {
    let files = try await Self.machine(numaNode: "1\n", cpus: "8-15\n")
    defer { withExtendedLifetime(files) {} }
    let reader = InventoryReader(nvmlLibrary: "/nonexistent", kernelDriver: "/nonexistent", root: files.root)
    for address in [Self.address, "41:00.0", "00000000:41:00.0"] {
      let gpu = reader.read(.configured([ConfiguredGPU(uuid: "GPU-a", pciAddress: address)])).gpus[0]
      #expect(gpu.numaNode == 1 && gpu.localCPUs?.description == "8-15" && gpu.pciPath.count == 3)
    }
    for address in ["../../../../etc", "0000:41", "", "0000:42:00.0", "zz:zz:zz.z"] {
      let gpu = reader.read(.configured([ConfiguredGPU(uuid: "GPU-a", pciAddress: address)])).gpus[0]
      #expect(gpu.numaNode == nil && gpu.pciPath == [])
    }
  }
}
