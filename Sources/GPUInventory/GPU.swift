import Glibc

/// One GPU as it was last read. What could not be learnt is `nil`.
package struct GPU: Sendable, Equatable {
  package enum Vendor: String, Sendable {
    case nvidia
    case amd
  }

  /// Its place in this reading. Not a name: it changes when a GPU comes or goes. See `GPUNumbering`.
  package var index: Int
  /// Its name for good, as CUDA_VISIBLE_DEVICES takes it.
  package var uuid: String
  /// The product's name.
  package var name: String?
  package var vendor: Vendor
  /// Bytes.
  package var memoryTotal: UInt64?
  /// Bytes, of all processes together.
  package var memoryUsed: UInt64?
  /// As sysfs writes it: `0000:41:00.0`.
  package var pciAddress: String?
  /// What a process must be able to open to use it; empty where that isn't known.
  package var deviceNodes: [String]
  /// Percent.
  package var utilisation: Int?
  /// Degrees Celsius.
  package var temperature: Int?

  package init(index: Int, uuid: String, vendor: Vendor) {
    self.index = index
    self.uuid = uuid
    self.vendor = vendor
    deviceNodes = []
  }

  /// Those of its device nodes that don't exist, as `/dev/nvidia-uvm` after a boot until something makes it. systemd
  /// would silently deny them to an instance, which then computes on the CPU.
  package func missingDeviceNodes() -> [String] { deviceNodes.filter { !DeviceNode.exists($0) } }
}

extension GPU.Vendor {
  /// What any process needs to use any of its GPUs.
  private var commonNodes: [String] {
    switch self {
    case .nvidia: ["/dev/nvidiactl", "/dev/nvidia-uvm"]
    case .amd: ["/dev/kfd"]
    }
  }

  /// A GPU's own nodes with the common ones, which nobody thinks of.
  func completed(_ nodes: [String]) -> [String] {
    nodes.isEmpty ? [] : nodes + commonNodes.filter { !nodes.contains($0) }
  }
}
