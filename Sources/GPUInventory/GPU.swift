import Glibc

/// One GPU, or one slice of one, as it was last read. What could not be learnt is `nil`.
package struct GPU: Sendable, Equatable {
  package enum Vendor: String, Sendable {
    case nvidia
    case amd
  }

  package enum Kind: Sendable, Equatable {
    case whole
    /// MIG mode is on: nothing can run on it but on its slices, which follow it in the inventory.
    case divided
    /// A MIG slice of the GPU with this UUID. `gpuInstance` has memory of its own; `computeInstance` is the part of it
    /// that a process computes on.
    case slice(of: String, gpuInstance: Int, computeInstance: Int)
  }

  /// Its place in this reading. Not a name: it changes when a GPU comes or goes. See `GPUNumbering`.
  package var index: Int
  /// Its name for good. For NVIDIA as CUDA_VISIBLE_DEVICES takes it (`GPU-…`, `MIG-…`), for AMD as ROCR_VISIBLE_DEVICES
  /// does (`GPU-` and 16 hexadecimal digits) unless `isNamedByAddress`. See `[GPU.Pin].visibleDevices`.
  package var uuid: String
  package var kind = Kind.whole
  /// Of one that is divided: the UUIDs of its slices, also of those that are not in the inventory.
  package var slices: [String] = []
  /// Of an AMD GPU: its index for AMD's runtime (ROCr), which counts them in the order of KFD's nodes.
  package var runtimeIndex: Int?
  /// Whether it is an AMD GPU whose hardware tells no unique id, or that of another one. Then `uuid` is its PCI
  /// address, such as `AMD-0000-03-00-0`, and AMD's runtime knows it by its index alone.
  package var isNamedByAddress = false
  /// The product's name.
  package var name: String?
  package var vendor: Vendor
  /// Bytes.
  package var memoryTotal: UInt64?
  /// Bytes, of all processes together.
  package var memoryUsed: UInt64?
  /// Who uses it; of a divided GPU, of all its slices. An empty list says that nobody does, `nil` that it is not known.
  package var processes: [GPUProcess]?
  /// As sysfs writes it: `0000:41:00.0`. A slice's is that of its GPU, as are the three below.
  package var pciAddress: String?
  /// The bridges from the root complex down, and the GPU itself, as sysfs names them; empty where that isn't known.
  package var pciPath: [String] = []
  package var numaNode: Int?
  /// The CPUs beside it.
  package var localCPUs: CPUSet?
  /// What a process must be able to open to use it; empty where that isn't known.
  package var deviceNodes: [String] = []
  /// Percent.
  package var utilisation: Int?
  /// Degrees Celsius.
  package var temperature: Int?

  package init(index: Int, uuid: String, vendor: Vendor) {
    self.index = index
    self.uuid = uuid
    self.vendor = vendor
  }

  /// Those of its device nodes that don't exist, as `/dev/nvidia-uvm` after a boot until something makes it. systemd
  /// would silently deny them to an instance, which then computes on the CPU.
  package func missingDeviceNodes() -> [String] { deviceNodes.filter { !DeviceNode.exists($0) } }

  /// Without what changes from one reading to the next, as it is shown of a GPU that no longer answers.
  package var withoutReadings: GPU {
    var gpu = self
    gpu.memoryUsed = nil
    gpu.processes = nil
    gpu.utilisation = nil
    gpu.temperature = nil
    return gpu
  }
}

/// A process that has memory on a GPU.
package struct GPUProcess: Sendable, Hashable {
  /// As the driver numbers processes: in the machine's first PID namespace.
  package var pid: Int32
  /// Bytes on this GPU; `nil` where the driver can't tell.
  package var memory: UInt64?

  package init(pid: Int32, memory: UInt64?) {
    self.pid = pid
    self.memory = memory
  }
}

extension GPU {
  /// The GPU that it is a slice of.
  package var parent: String? { if case .slice(let parent, _, _) = kind { parent } else { nil } }

  /// What a process is pinned to it with; nothing of it changes while the GPU works.
  package struct Pin: Sendable, Equatable {
    package var uuid: String
    package var vendor: Vendor
    /// Empty where they aren't known.
    package var deviceNodes: [String]
    fileprivate var runtimeIndex: Int?
    fileprivate var isNamedByAddress = false

    package init(uuid: String, vendor: Vendor, deviceNodes: [String]) {
      self.uuid = uuid
      self.vendor = vendor
      self.deviceNodes = deviceNodes
    }
  }

  package var pin: Pin {
    var pin = Pin(uuid: uuid, vendor: vendor, deviceNodes: deviceNodes)
    pin.runtimeIndex = runtimeIndex
    pin.isNamedByAddress = isNamedByAddress
    return pin
  }
}

extension [GPU.Pin] {
  /// What CUDA_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES is set to, so that a process sees those of these GPUs that are
  /// `vendor`'s alone, in this order; `-1`, which names none, where there are none.
  ///
  /// - Parameter othersAreHidden: whether device rules (DeviceAllow=) keep it from the nodes of all other GPUs. AMD's
  ///   runtime counts only the GPUs whose nodes it may open (Linux: `kfd_devcgroup_check_permission`), so a GPU without
  ///   a UUID has another index behind such rules.
  package func visibleDevices(of vendor: GPU.Vendor, othersAreHidden: Bool) -> String {
    let gpus = filter { $0.vendor == vendor }
    guard !gpus.isEmpty else { return "-1" }
    let indexes = gpus.compactMap(\.runtimeIndex).sorted()
    return gpus.map { gpu in
      guard gpu.isNamedByAddress, let index = gpu.runtimeIndex else { return gpu.uuid }
      return String(othersAreHidden ? indexes.firstIndex(of: index) ?? index : index)
    }.joined(separator: ",")
  }
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
