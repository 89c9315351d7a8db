/// What sysfs tells of the slot that a GPU sits in. None of it changes while the machine runs.
struct PCIDevice: Sendable, Equatable {
  /// `nil` where the firmware names none.
  var numaNode: Int?
  /// The CPUs beside it.
  var localCPUs: CPUSet?
  /// The bridges from the root complex down, and the device itself. Two GPUs are the closer the more they share.
  var path: [String]
  /// Files that say nothing that could be.
  private(set) var nonsense: [String] = []

  /// `nil` where sysfs knows no such device.
  init?(_ address: PCIAddress, in files: FileSystem) {
    let folder = "/sys/bus/pci/devices/\(address)"
    guard let real = files.realPath(of: folder) else { return nil }
    path = real.split(separator: "/").map(String.init)
    // `/sys/devices/pci0000:40/0000:40:01.0/0000:41:00.0`: the folders above are no bridges.
    if path.starts(with: ["sys", "devices"]) { path.removeFirst(2) }
    // The firmware names no node with -1; a node of memory alone has an empty list of CPUs.
    numaNode = value(of: "numa_node", files, folder) { Int($0).flatMap { -1..<Self.mostNodes ~= $0 ? $0 : nil } }
    if numaNode == -1 { numaNode = nil }
    localCPUs = value(of: "local_cpulist", files, folder) { CPUSet(list: $0) }
  }

  private mutating func value<Value>(
    of name: String, _ files: FileSystem, _ folder: String, _ read: (String) -> Value?
  ) -> Value? {
    guard case .text(let text) = files.content(of: "\(folder)/\(name)"), !(text.isEmpty && name == Self.mayBeEmpty)
    else {
      return nil
    }
    let value = read(text)
    if value == nil { nonsense.append("\(folder)/\(name)") }
    return value
  }

  private static let mayBeEmpty = "local_cpulist"

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
  /// - Returns: what it should tell and does not.
  mutating func describe(_ gpu: inout GPU) -> [InventoryProblem] {
    guard let address = gpu.pciAddress.flatMap({ PCIAddress($0) }), let device = device(at: address) else { return [] }
    gpu.numaNode = device.numaNode
    gpu.localCPUs = device.localCPUs
    gpu.pciPath = device.path
    return device.nonsense.map {
      InventoryProblem(
        gpu: gpu.uuid, subject: $0, text: "makes no sense, so that what is near this GPU is not known",
        advice: "`numa_binding: false` does without", kind: .aside)
    }
  }

  private mutating func device(at address: PCIAddress) -> PCIDevice? {
    if let device = known[address] { return device }
    guard let device = PCIDevice(address, in: files) else { return nil }
    known[address] = device
    return device
  }
}
