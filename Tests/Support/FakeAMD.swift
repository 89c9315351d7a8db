import Foundation

/// A folder that stands for `/` on a machine with AMD's GPUs: what the kernel shows of them in sysfs, and files in the
/// place of their device nodes.
package final class FakeAMD: Sendable {
  package struct GPU: Sendable {
    package var bus: Int
    /// 0: the hardware tells none.
    package var uniqueID: UInt64
    package var renderMinor: Int
    /// Bytes.
    package var memoryTotal: Int
    package var memoryUsed: Int
    package var numaNode: Int
    package var localCPUs: String

    package init(
      bus: Int, uniqueID: UInt64, renderMinor: Int, memoryTotal: Int = 24 << 30, memoryUsed: Int = 100 << 20,
      numaNode: Int = 0, localCPUs: String = "0-7"
    ) {
      self.bus = bus
      self.uniqueID = uniqueID
      self.renderMinor = renderMinor
      self.memoryTotal = memoryTotal
      self.memoryUsed = memoryUsed
      self.numaNode = numaNode
      self.localCPUs = localCPUs
    }

    var address: String { "0000:" + hexadecimal(bus) + ":00.0" }
  }

  private let folder: TemporaryDirectory
  /// In the order of KFD's nodes.
  private let gpus: [GPU]

  /// KFD's node 0 is the CPU's.
  package init(_ gpus: [GPU]) throws {
    folder = try TemporaryDirectory()
    self.gpus = gpus
    try write("0\n", to: Self.node(0) + "/gpu_id")
    try write("", to: Self.node(0) + "/name")
    try write("cpu_cores_count 16\nsimd_count 0\nlocation_id 0\n", to: Self.node(0) + "/properties")
    for (index, gpu) in gpus.enumerated() { try write(gpu, index) }
  }

  /// What stands for `/`.
  package var root: String { folder.path }

  private static func node(_ number: Int) -> String { "sys/class/kfd/kfd/topology/nodes/\(number)" }

  /// KFD's folder of a GPU, counted from 0, below the root.
  package func node(of gpu: Int) -> String { Self.node(gpu + 1) }

  /// The PCI device's folder of a GPU, below the root.
  package func device(of gpu: Int) -> String { "sys/bus/pci/devices/\(gpus[gpu].address)" }

  package func write(_ text: String, to path: String) throws {
    let file = folder.path(to: path)
    let parent = URL(fileURLWithPath: file).deletingLastPathComponent().path
    try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
    try folder.write(text, to: path)
  }

  package func remove(_ path: String) throws { try FileManager.default.removeItem(atPath: folder.path(to: path)) }

  /// From now on this process has so much memory on a GPU.
  package func occupy(_ gpu: Int, bytes: Int, by pid: Int32) throws {
    try write("\(bytes)\n", to: "sys/class/kfd/kfd/proc/\(pid)/vram_\(Self.identifier(gpu))")
  }

  private static func identifier(_ gpu: Int) -> Int { 50_000 + gpu }

  private func write(_ gpu: GPU, _ index: Int) throws {
    let node = node(of: index)
    try write("\(Self.identifier(index))\n", to: node + "/gpu_id")
    try write("navi31\n", to: node + "/name")
    let properties = """
      cpu_cores_count 0
      simd_count 192
      vendor_id 4098
      location_id \(gpu.bus << 8)
      domain 0
      drm_render_minor \(gpu.renderMinor)
      unique_id \(gpu.uniqueID)

      """
    try write(properties, to: node + "/properties")
    try write("heap_type 1\nsize_in_bytes \(gpu.memoryTotal)\n", to: node + "/mem_banks/0/properties")
    // As in sysfs, the device is a link into the tree of bridges.
    let real = "sys/devices/pci0000:00/0000:00:0\(index + 1).0/\(gpu.address)"
    for (name, text) in [
      ("mem_info_vram_total", "\(gpu.memoryTotal)"), ("mem_info_vram_used", "\(gpu.memoryUsed)"),
      ("gpu_busy_percent", "\(10 * index)"), ("numa_node", "\(gpu.numaNode)"), ("local_cpulist", gpu.localCPUs),
      ("hwmon/hwmon\(index)/temp1_input", "\(45_000 + 1_000 * index)"),
    ] {
      try write(text + "\n", to: "\(real)/\(name)")
    }
    try FileManager.default.createDirectory(
      atPath: folder.path(to: "sys/bus/pci/devices"), withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: folder.path(to: device(of: index)), withDestinationPath: "../../../../" + real)
    try write("", to: "dev/dri/renderD\(gpu.renderMinor)")
    try write("", to: "dev/kfd")
  }
}

private func hexadecimal(_ number: Int) -> String {
  let digits = String(number, radix: 16)
  return digits.count < 2 ? "0" + digits : digits
}
