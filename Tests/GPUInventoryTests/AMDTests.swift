import TestSupport
import Testing

@testable import GPUInventory

@Suite struct AMDTests {
  /// KFD counts them in another order than the PCI bus; the third has no unique id.
  private static let three = [
    FakeAMD.GPU(bus: 0x83, uniqueID: 0xABC_0001, renderMinor: 129, memoryUsed: 1000, numaNode: 1, localCPUs: "8-15"),
    FakeAMD.GPU(bus: 0x03, uniqueID: 0xFEDC_BA98_7654_3210, renderMinor: 128, memoryUsed: 2000),
    FakeAMD.GPU(bus: 0x43, uniqueID: 0, renderMinor: 130, memoryUsed: 3000, numaNode: -1),
  ]

  /// Reads a machine that has no GPU of NVIDIA's.
  private static func read(_ fake: FakeAMD, _ source: GPUSource = .automatic) -> Inventory {
    withExtendedLifetime(fake) {
      InventoryReader(nvmlLibrary: "/nonexistent", kernelDriver: "/nonexistent", root: fake.root).read(source)
    }
  }

  @Test("GPUs are read from sysfs, in the order of the PCI bus, and that there is no NVIDIA driver is no fault")
  func read() throws {
    let inventory = try Self.read(FakeAMD(Self.three))
    #expect(inventory.source == .drivers && inventory.problems == [])
    #expect(inventory.gpus.map(\.uuid) == ["GPU-fedcba9876543210", "AMD-0000-43-00-0", "GPU-000000000abc0001"])
    #expect(inventory.gpus.map(\.pciAddress) == ["0000:03:00.0", "0000:43:00.0", "0000:83:00.0"])
    #expect(inventory.gpus.map(\.index) == [0, 1, 2] && inventory.gpus.map(\.runtimeIndex) == [1, 2, 0])
    #expect(inventory.gpus.map(\.isNamedByAddress) == [false, true, false])
    #expect(inventory.gpus.map(\.deviceNodes) == [128, 130, 129].map { ["/dev/dri/renderD\($0)", "/dev/kfd"] })
    #expect(inventory.gpus.map(\.memoryTotal) == Array(repeating: 24 << 30, count: 3))
    #expect(inventory.gpus.map(\.memoryUsed) == [2000, 3000, 1000])
    #expect(inventory.gpus.map(\.utilisation) == [10, 20, 0] && inventory.gpus.map(\.temperature) == [46, 47, 45])
    #expect(inventory.gpus.map(\.numaNode) == [0, nil, 1])
    #expect(inventory.gpus.map(\.localCPUs?.description) == ["0-7", "0-7", "8-15"])
    #expect(inventory.gpus[2].pciPath == ["pci0000:00", "0000:00:01.0", "0000:83:00.0"])
    #expect(inventory.gpus.allSatisfy { $0.vendor == .amd && $0.kind == .whole && $0.name == "navi31" })
    #expect(inventory.gpus.allSatisfy { $0.processes == nil }, "a kernel without such a list")
  }

  @Test("a pin names GPUs by UUID, and one without by the index that AMD's runtime gives it")
  func pins() throws {
    let gpus = try Self.read(FakeAMD(Self.three)).gpus
    func names(_ chosen: GPU..., hidden: Bool) -> String {
      chosen.map(\.pin).visibleDevices(of: .amd, othersAreHidden: hidden)
    }
    #expect(names(gpus[0], hidden: true) == "GPU-fedcba9876543210")
    #expect(names(gpus[1], hidden: false) == "2")
    #expect(names(gpus[1], hidden: true) == "0")
    #expect(names(gpus[1], gpus[2], hidden: false) == "2,GPU-000000000abc0001")
    #expect(names(gpus[1], gpus[2], hidden: true) == "1,GPU-000000000abc0001")
    #expect(names(hidden: true) == "-1")
    var slice = GPU(index: 0, uuid: "MIG-x", vendor: .nvidia)
    slice.kind = .slice(of: "GPU-x", gpuInstance: 1, computeInstance: 0)
    let pins = [slice, gpus[1], GPU(index: 1, uuid: "GPU-y", vendor: .nvidia)].map(\.pin)
    #expect(pins.visibleDevices(of: .nvidia, othersAreHidden: true) == "MIG-x,GPU-y")
    #expect(pins.visibleDevices(of: .amd, othersAreHidden: true) == "0")
  }

  @Test("who has memory on a GPU is listed for it alone")
  func processes() throws {
    let fake = try FakeAMD(Self.three)
    try fake.occupy(0, bytes: 500, by: 77)
    try fake.occupy(1, bytes: 0, by: 77)
    try fake.occupy(0, bytes: 400, by: 5)
    try fake.write("nonsense\n", to: "sys/class/kfd/kfd/proc/9/vram_50000")
    try fake.write("1\n", to: "sys/class/kfd/kfd/proc/not-a-process/vram_50000")
    let gpus = Self.read(fake).gpus
    #expect(gpus[2].processes == [GPUProcess(pid: 5, memory: 400), GPUProcess(pid: 77, memory: 500)])
    #expect(gpus[0].processes == [] && gpus[1].processes == [])
  }

  @Test(
    "a file that is empty or nonsense costs its value alone, and is named",
    arguments: [
      "mem_info_vram_total", "mem_info_vram_used", "gpu_busy_percent", "hwmon/hwmon0/temp1_input",
    ], ["", "nonsense\n", "-1000000000\n", "99999999999999999999999999\n"])
  func nonsense(file: String, text: String) throws {
    let fake = try FakeAMD(Self.three)
    try fake.write(text, to: "\(fake.device(of: 0))/\(file)")
    let inventory = Self.read(fake)
    #expect(inventory.gpus.count == 3)
    let problem = try #require(inventory.problems.first)
    #expect(inventory.problems.count == 1 && problem.gpu == "GPU-000000000abc0001")
    #expect(problem.subject.hasSuffix(file))
    #expect(problem.text.hasPrefix(text.isEmpty ? "is empty" : "'") && !problem.text.contains("\n"))
    let gpu = inventory.gpus[2]
    let isKnown = [gpu.memoryTotal != nil, gpu.memoryUsed != nil, gpu.utilisation != nil, gpu.temperature != nil]
    #expect(isKnown.count { !$0 } == 1)
  }

  @Test("files that this kernel does not have are no fault")
  func missing() throws {
    let fake = try FakeAMD(Self.three)
    for file in ["mem_info_vram_total", "mem_info_vram_used", "gpu_busy_percent", "hwmon/hwmon0/temp1_input"] {
      try fake.remove("\(fake.device(of: 0))/\(file)")
    }
    try fake.write("Instinct MI210\n", to: "\(fake.device(of: 0))/product_name")
    let inventory = Self.read(fake)
    #expect(inventory.problems == [] && inventory.gpus[2].memoryTotal == nil)
    #expect(inventory.gpus[2].name == "Instinct MI210")
  }

  @Test("one that sleeps is not woken up for its load and temperature")
  func asleep() throws {
    let fake = try FakeAMD(Self.three)
    for (state, isAsked) in [("suspended\n", false), ("active\n", true)] {
      try fake.write(state, to: "\(fake.device(of: 0))/power/runtime_status")
      // Whoever asks finds this.
      for file in ["gpu_busy_percent", "hwmon/hwmon0/temp1_input"] {
        try fake.write("asked\n", to: "\(fake.device(of: 0))/\(file)")
      }
      let inventory = Self.read(fake)
      #expect(inventory.problems.count == (isAsked ? 2 : 0))
      #expect(inventory.gpus[2].memoryUsed == 1000 && inventory.gpus[2].temperature == nil)
      #expect(inventory.gpus[0].temperature == 46)
    }
  }

  @Test("a node that tells nothing is named, and the others stay with the index that they have")
  func silentNode() throws {
    for text in ["", "nonsense\n", "simd_count\nlocation_id x\n"] {
      let fake = try FakeAMD(Self.three)
      try fake.write(text, to: "\(fake.node(of: 0))/properties")
      let inventory = Self.read(fake)
      #expect(inventory.gpus.map(\.uuid) == ["GPU-fedcba9876543210", "AMD-0000-43-00-0"])
      #expect(inventory.gpus.map(\.runtimeIndex) == [1, 2])
      #expect(inventory.problems.map(\.gpu) == ["KFD node 1"])
    }
    let fake = try FakeAMD(Self.three)
    try fake.write("x\n", to: "\(fake.node(of: 1))/gpu_id")
    let inventory = Self.read(fake)
    #expect(inventory.gpus.count == 2 && inventory.problems.map(\.gpu) == ["KFD node 2"])
  }

  @Test("of two with one id neither has a UUID that AMD's runtime would take")
  func namesakes() throws {
    var gpus = Self.three
    gpus[1].uniqueID = gpus[0].uniqueID
    let inventory = try Self.read(FakeAMD(gpus))
    #expect(inventory.gpus.map(\.uuid) == ["AMD-0000-03-00-0", "AMD-0000-43-00-0", "AMD-0000-83-00-0"])
    // Parts of one device have its address, too, and memory of their own.
    gpus = [0, 1].map { FakeAMD.GPU(bus: 0x43, uniqueID: 0, renderMinor: 128 + $0, memoryTotal: 48 << 30) }
    let fake = try FakeAMD([gpus[0]])
    try fake.write("60000\n", to: "\(fake.node(of: 1))/gpu_id")
    try fake.write(
      "simd_count 4\nlocation_id \(0x1000_4300)\ndrm_render_minor 129\nunique_id 0\n",
      to: "\(fake.node(of: 1))/properties")
    try fake.write("heap_type 1\nsize_in_bytes 5000000000\n", to: "\(fake.node(of: 1))/mem_banks/0/properties")
    let parts = Self.read(fake).gpus
    #expect(parts.map(\.uuid) == ["AMD-0000-43-00-0", "AMD-0000-43-00-0-2"])
    #expect(parts.map(\.memoryTotal) == [48 << 30, 5_000_000_000] && parts.map(\.memoryUsed) == [nil, nil])
  }

  @Test("a processor's own graphics gets no instance, unless it is configured")
  func integrated() throws {
    let fake = try FakeAMD([
      FakeAMD.GPU(bus: 0x03, uniqueID: 0, renderMinor: 128, memoryTotal: 512 << 20),
      FakeAMD.GPU(bus: 0x43, uniqueID: 0, renderMinor: 129),
    ])
    let inventory = Self.read(fake)
    #expect(inventory.gpus.map(\.uuid) == ["AMD-0000-43-00-0"] && inventory.gpus[0].runtimeIndex == 1)
    let configured = Self.read(fake, .configured([ConfiguredGPU(uuid: "AMD-0000-03-00-0", vendor: .amd)]))
    #expect(configured.gpus[0].memoryTotal == 512 << 20 && configured.problems == [])
    // What is wrong with it is nobody's affair.
    try fake.write("nonsense\n", to: "\(fake.device(of: 0))/gpu_busy_percent")
    #expect(Self.read(fake).problems == [])
  }

  @Test("without such a driver the CPU is used")
  func none() throws {
    let inventory = try Self.read(FakeAMD([]))
    #expect(inventory.source == .cpu && inventory.gpus == [])
    #expect(inventory.problems.map(\.subject) == ["/nonexistent"])
  }

  @Test("a list of GPUs that can't be read is no empty one")
  func unreadable() throws {
    let files = try MachineFiles()
    defer { withExtendedLifetime(files) {} }
    try files.link("sys/class/kfd/kfd/topology/nodes", to: "nodes")
    let inventory = InventoryReader(nvmlLibrary: "/nonexistent", kernelDriver: "/nonexistent", root: files.root)
      .read(.automatic)
    #expect(inventory.source == .drivers && inventory.gpus == [])
    #expect(
      inventory.problems.map(\.description) == [
        "/sys/class/kfd/kfd/topology/nodes: Too many levels of symbolic links"
      ])
  }

  @Test("a configured GPU gets what sysfs knows; one that it doesn't is told")
  func configured() throws {
    let inventory = try Self.read(
      FakeAMD(Self.three),
      .configured([
        ConfiguredGPU(uuid: "AMD-0000-43-00-0", name: "mine", vendor: .amd, memory: 7),
        ConfiguredGPU(uuid: "GPU-0000000000000009", vendor: .amd),
        ConfiguredGPU(uuid: "GPU-000000000abc0001", vendor: .nvidia),
      ]))
    #expect(inventory.gpus.map(\.memoryTotal) == [7, nil, nil] && inventory.gpus[0].memoryUsed == 3000)
    #expect(inventory.gpus[0].name == "mine" && inventory.gpus[0].deviceNodes == ["/dev/dri/renderD130", "/dev/kfd"])
    #expect(inventory.gpus[0].isNamedByAddress && inventory.gpus[0].runtimeIndex == 2)
    #expect(inventory.gpus[2].vendor == .nvidia && inventory.gpus[2].deviceNodes == [])
    #expect(
      inventory.problems.map(\.description) == ["GPU-0000000000000009: gpus: AMD's driver knows no such GPU"])
  }
}

/// A machine with GPUs of both vendors.
struct MixedVendorsTests {
  private static let amd = [FakeAMD.GPU(bus: 0x43, uniqueID: 1, renderMinor: 128)]
  private static let nvidia = "gpu uuid=GPU-a bus=0:81:0\ngpu uuid=GPU-b bus=0:1:0 mig=1\nmig gpu=1 uuid=MIG-x\n"

  @Test("both are listed, and counted together in the order of the PCI bus")
  func both() async throws {
    let root = try FakeAMD(Self.amd)
    defer { withExtendedLifetime(root) {} }
    let inventory = try await FakeNVML(state: Self.nvidia).reader(root: root.root).read(.automatic)
    #expect(inventory.gpus.map(\.uuid) == ["GPU-b", "MIG-x", "GPU-0000000000000001", "GPU-a"])
    #expect(inventory.gpus.map(\.index) == [0, 1, 2, 3] && inventory.source == .drivers)
  }

  @Test("one vendor's broken driver leaves the other's GPUs alone, and is told")
  func broken() async throws {
    let root = try FakeAMD(Self.amd)
    defer { withExtendedLifetime(root) {} }
    let fake = try await FakeNVML(state: "fail nvmlInit_v2 18\n")
    let withoutNVIDIA = fake.reader(root: root.root).read(.automatic)
    #expect(withoutNVIDIA.gpus.map(\.uuid) == ["GPU-0000000000000001"] && withoutNVIDIA.problems.map(\.code) == [18])
    try fake.show(Self.nvidia)
    try root.write("", to: root.node(of: 0) + "/properties")
    let withoutAMD = fake.reader(root: root.root).read(.automatic)
    #expect(withoutAMD.gpus.map(\.uuid) == ["GPU-b", "MIG-x", "GPU-a"])
    #expect(withoutAMD.problems.compactMap(\.gpu).contains("KFD node 1"))
    // Where there is nothing else, a GPU that tells nothing doesn't mean the CPU.
    try fake.show("fail nvmlInit_v2 9\n")
    let neither = fake.reader(root: root.root).read(.automatic)
    #expect(neither.source == .drivers && neither.gpus == [] && neither.problems.map(\.gpu) == ["KFD node 1"])
  }
}
