import Glibc

/// What amdgpu tells of one GPU. Files that this kernel or GPU doesn't have are no fault; empty or senseless ones are.
struct AMDDevice {
  let files: FileSystem
  let node: KFDNode
  let gpu: String
  /// Whether it is one part of several of a divided device (MI300's compute partitions), whose figures are of all parts
  /// together.
  let isPart: Bool
  private(set) var problems: [InventoryProblem] = []

  init(files: FileSystem, node: KFDNode, gpu: String, isPart: Bool) {
    self.files = files
    self.node = node
    self.gpu = gpu
    self.isPart = isPart
  }

  mutating func read(into gpu: inout GPU) {
    let folder = "/sys/bus/pci/devices/\(gpu.pciAddress ?? "")"
    gpu.name = files.text(of: folder + "/product_name") ?? node.name
    if let minor = node.renderMinor {
      gpu.deviceNodes = GPU.Vendor.amd.completed(["/dev/dri/renderD\(minor)"])
    } else {
      problems.append(
        InventoryProblem(
          gpu: self.gpu, subject: node.folder + "/properties", text: "has no drm_render_minor: its node isn't known"))
    }
    if isPart {
      gpu.memoryTotal = partMemory
    } else {
      gpu.memoryTotal = number(folder + "/mem_info_vram_total", "bytes", 0...UInt64(Int64.max))
      gpu.memoryUsed = number(folder + "/mem_info_vram_used", "bytes", 0...UInt64(Int64.max))
    }
    // One that sleeps, as the kernel lets a GPU that nobody uses, would wake up for being asked, each time.
    if files.text(of: folder + "/power/runtime_status") == "suspended" { return }
    gpu.utilisation = number(folder + "/gpu_busy_percent", "percent", 0...100)
    if let sensor = files.names(in: folder + "/hwmon").first(where: { $0.hasPrefix("hwmon") }) {
      let degrees = number(
        "\(folder)/hwmon/\(sensor)/temp1_input", "thousandths of a degree", -100_000...1_000_000, as: Int.self)
      gpu.temperature = degrees.map { $0 / 1000 }
    }
  }

  /// Of the banks that KFD lists for the part: frame buffer, visible (1) or not (2).
  private var partMemory: UInt64? {
    let banks = files.names(in: node.folder + "/mem_banks").prefix(16).compactMap { bank -> UInt64? in
      let properties = KFDNode.Properties(files.text(of: "\(node.folder)/mem_banks/\(bank)/properties") ?? "")
      guard let type = properties["heap_type"], 1...2 ~= type else { return nil }
      return properties["size_in_bytes"]
    }
    return banks.isEmpty ? nil : banks.reduce(0) { $0 &+ $1 }
  }

  private mutating func number<Number: FixedWidthInteger & Sendable>(
    _ path: String, _ unit: String, _ range: ClosedRange<Number>, as type: Number.Type = Number.self
  ) -> Number? {
    let text: String
    switch files.content(of: path) {
    // The latter from Linux 6.15 on, of one that is falling asleep or being reset: `amdgpu_pm_get_access_if_active`.
    case .missing, .unreadable(EPERM): return nil
    case .unreadable(let code): text = String(cString: strerror(code))
    case .text(let content):
      if let number = Number(content), range ~= number { return number }
      text = content.isEmpty ? "is empty" : "\(quoted(content)) is no number of \(unit)"
    }
    problems.append(InventoryProblem(gpu: gpu, subject: path, text: text))
    return nil
  }
}

/// Who has memory on AMD's GPUs, by KFD: processes that compute. What only draws, such as a desktop, is not listed.
struct AMDProcesses {
  private static let folder = "/sys/class/kfd/kfd/proc"
  /// More than a machine has been seen to have.
  private static let most = 4096

  private let files: FileSystem
  private let pids: [Int32]

  /// `nil` where the kernel has no such list.
  init?(_ files: FileSystem) {
    guard files.exists(Self.folder) else { return nil }
    self.files = files
    pids = files.names(in: Self.folder).lazy.compactMap { Int32($0) }.filter { $0 > 0 }.prefix(Self.most).sorted()
  }

  /// Those that have memory on it; who has only opened it has none.
  func of(_ gpuID: UInt32) -> [GPUProcess] {
    pids.compactMap { pid in
      guard let memory: UInt64 = files.number(in: "\(Self.folder)/\(pid)/vram_\(gpuID)"), memory > 0 else { return nil }
      return GPUProcess(pid: pid, memory: memory)
    }
  }
}
