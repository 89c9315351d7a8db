import Glibc
import PoolCore

/// AMD's GPUs, as the kernel shows them in sysfs: computing by KFD (the ROCm runtime uses what it lists), memory and
/// sensors by amdgpu. Sources: Linux, `drivers/gpu/drm/amd/amdkfd/kfd_topology.c` and `kfd_process.c`, and "GPU sysfs
/// interfaces" in its amdgpu documentation; ROCR-Runtime, `amd_filter_device.cpp`.
struct AMDReader {
  private static let topology = "/sys/class/kfd/kfd/topology/nodes"
  /// Bounds what a broken driver can make the pool do.
  private static let mostNodes = 2 * Placement.most

  private let files: FileSystem
  private var slots: PCIDevices

  init(_ files: FileSystem) {
    self.files = files
    slots = PCIDevices(files)
  }

  /// In the order of KFD's nodes. Both are empty where there is no such driver.
  mutating func read() -> (gpus: [GPU], problems: [InventoryProblem]) {
    var problems: [InventoryProblem] = []
    let nodes = nodes(&problems)
    let addresses = nodes.map(\.address)
    let processes = AMDProcesses(files)
    var taken: Set<String> = []
    var gpus: [GPU] = []
    for (index, node) in nodes.enumerated() {
      // A node that tells nothing still has an index.
      guard let address = node.address else { continue }
      let isNamesake = nodes.contains { $0.number != node.number && $0.uniqueID == node.uniqueID }
      var gpu = GPU(index: index, uuid: "", vendor: .amd)
      gpu.runtimeIndex = index
      gpu.pciAddress = address.description
      // Its runtime takes no UUID that is zero, or two GPUs'.
      if let id = node.uniqueID, id != 0, !isNamesake {
        gpu.uuid = "GPU-" + Self.hexadecimal(id)
      } else {
        gpu.isNamedByAddress = true
        gpu.uuid = Self.name(of: address, avoiding: taken)
      }
      taken.insert(gpu.uuid)
      problems += slots.describe(&gpu)
      let isPart = addresses.count { $0 == address } > 1
      var device = AMDDevice(files: files, node: node, gpu: gpu.uuid, isPart: isPart)
      device.read(into: &gpu)
      gpu.processes = processes?.of(node.gpuID)
      problems += device.problems
      gpus.append(gpu)
    }
    return (gpus, problems)
  }

  /// Those with a GPU, in order.
  private func nodes(_ problems: inout [InventoryProblem]) -> [KFDNode] {
    let names: [String]
    switch files.list(Self.topology) {
    case .success(let found): names = found
    case .failure(let error):
      problems.append(InventoryProblem(subject: Self.topology, text: String(cString: strerror(error.code))))
      return []
    }
    let numbers = names.compactMap { UInt32($0) }.sorted().prefix(Self.mostNodes)
    return numbers.compactMap { number in
      switch KFDNode.read(number, at: "\(Self.topology)/\(number)", files) {
      case .gpu(let node): return node
      case .noGPU: return nil
      case .silent(let node, let problem):
        problems.append(problem)
        return node
      }
    }
  }

  private static func hexadecimal(_ id: UInt64) -> String {
    let digits = String(id, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// Of several at one address (parts of one device) the second is `…-2`.
  private static func name(of address: PCIAddress, avoiding taken: Set<String>) -> String {
    let name = "AMD-" + address.description.map { $0 == ":" || $0 == "." ? "-" : String($0) }.joined()
    let others = (2...).lazy.map { "\(name)-\($0)" }
    return taken.contains(name) ? others.first { !taken.contains($0) } ?? name : name
  }
}

extension GPU {
  /// A processor's own graphics with a little of the machine's memory: Ollama does not use them, and an instance on
  /// them would compute on the CPU. The bound was Ollama's (`IGPUMemLimit` in its `discover/amd_linux.go`).
  var isWorthAnInstance: Bool { vendor != .amd || memoryTotal.map { $0 >= 1 << 30 } ?? true }
}

/// A node of KFD's topology that has a GPU.
struct KFDNode {
  enum Found {
    case gpu(KFDNode)
    /// A CPU's.
    case noGPU
    /// It has one and tells nothing of it.
    case silent(KFDNode?, InventoryProblem)
  }

  var number: UInt32
  /// As KFD names it, in the files of processes; 0 is none.
  var gpuID: UInt32
  /// Such as `navi31`.
  var name: String?
  var address: PCIAddress?
  var uniqueID: UInt64?
  /// N of /dev/dri/renderDN.
  var renderMinor: UInt32?
  /// Where it is in sysfs.
  var folder: String

  static func read(_ number: UInt32, at folder: String, _ files: FileSystem) -> Found {
    func silent(_ subject: String, _ text: String, hasGPU: Bool) -> Found {
      let node = KFDNode(number: number, gpuID: 0, folder: folder)
      return .silent(
        hasGPU ? node : nil, InventoryProblem(gpu: "KFD node \(number)", subject: "\(folder)/\(subject)", text: text))
    }
    let id: UInt32
    switch files.content(of: folder + "/gpu_id") {
    case .missing: return .noGPU
    // Linux refuses it for a GPU alone: where device rules keep the process from its render node.
    case .unreadable(let code):
      let hint = code == EPERM ? "; may the pool's unit open /dev/dri/renderD*? (DeviceAllow=)" : ""
      return silent("gpu_id", String(cString: strerror(code)) + hint, hasGPU: code == EPERM)
    case .text(let text):
      guard let number = UInt32(text) else {
        return silent("gpu_id", "\(quoted(text)) is no number", hasGPU: false)
      }
      id = number
    }
    if id == 0 { return .noGPU }
    let properties = Properties(files.text(of: folder + "/properties") ?? "")
    guard let location = properties["location_id"] else {
      return silent("properties", "has no location_id: the GPU's PCI address is not known", hasGPU: true)
    }
    if properties["simd_count"] == 0 { return .noGPU }
    var node = KFDNode(number: number, gpuID: id, folder: folder)
    node.name = files.text(of: folder + "/name")
    // The upper half counts the parts of a divided device.
    node.address = PCIAddress(
      domain: UInt32(truncatingIfNeeded: properties["domain"] ?? 0), bus: UInt32(location >> 8 & 0xFF),
      device: UInt32(location >> 3 & 0x1F), function: UInt32(location & 0x7))
    node.uniqueID = properties["unique_id"]
    node.renderMinor = properties["drm_render_minor"].flatMap { 1..<mostMinors ~= $0 ? UInt32($0) : nil }
    return .gpu(node)
  }

  /// Linux' device numbers have twenty bits for them.
  private static let mostMinors: UInt64 = 1 << 20

  /// Lines of a name and a number.
  struct Properties {
    private var values: [Substring: UInt64] = [:]

    init(_ text: String) {
      for line in text.split(separator: "\n") {
        let parts = line.split(separator: " ")
        if parts.count == 2, let value = UInt64(parts[1]) { values[parts[0]] = value }
      }
    }

    subscript(name: Substring) -> UInt64? { values[name] }
  }
}

/// As an error shows what it is about.
func quoted(_ text: String) -> String {
  let shown = String(text.prefix(40).map { $0.isASCII && !$0.isNewline && $0 >= " " ? $0 : "?" })
  return text.count > 40 ? "'\(shown)…'" : "'\(shown)'"
}
