/// What sysfs tells of the slot that a GPU sits in. None of it changes while the machine runs.
struct PCIDevice: Sendable, Equatable {
  /// `nil` where the firmware names none.
  var numaNode: Int?
  /// The CPUs beside it.
  var localCPUs: CPUSet?
  /// The bridges from the root complex down, and the device itself. Two GPUs are the closer the more they share.
  var path: [String]

  /// `nil` where sysfs knows no such device.
  init?(_ address: PCIAddress, in files: FileSystem) {
    let folder = "/sys/bus/pci/devices/\(address)"
    guard let real = files.realPath(of: folder) else { return nil }
    path = real.split(separator: "/").map(String.init)
    // `/sys/devices/pci0000:40/0000:40:01.0/0000:41:00.0`: the folders above are no bridges.
    if path.starts(with: ["sys", "devices"]) { path.removeFirst(2) }
    numaNode = files.number(in: folder + "/numa_node").flatMap { 0..<Self.mostNodes ~= $0 ? $0 : nil }
    localCPUs = files.text(of: folder + "/local_cpulist").flatMap { CPUSet(list: $0) }
  }

  /// Linux has at most 1024 (CONFIG_NODES_SHIFT).
  private static let mostNodes = 1024
}

/// The slots that were read, each once.
struct PCIDevices {
  private let files: FileSystem
  /// Only devices that exist, so it doesn't grow.
  private var known: [PCIAddress: PCIDevice] = [:]

  init(_ files: FileSystem) { self.files = files }

  /// Adds to a GPU what its slot tells.
  mutating func describe(_ gpu: inout GPU) {
    guard let address = gpu.pciAddress.flatMap({ PCIAddress($0) }), let device = device(at: address) else { return }
    gpu.numaNode = device.numaNode
    gpu.localCPUs = device.localCPUs
    gpu.pciPath = device.path
  }

  private mutating func device(at address: PCIAddress) -> PCIDevice? {
    if let device = known[address] { return device }
    guard let device = PCIDevice(address, in: files) else { return nil }
    known[address] = device
    return device
  }
}
