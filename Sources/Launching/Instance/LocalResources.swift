import GPUInventory

/// The CPUs and the memory that an instance is kept to.
struct LocalResources: Equatable {
  /// Ascending; empty: any.
  var cpus: [Int]
  /// The NUMA node whose memory is taken while it has some; nil: as the kernel likes.
  ///
  /// Preferred and not bound: a model that takes more than one node has is to run slower, not to fail. For several
  /// nodes there is none: interleaved memory would be half of it remote to each GPU, always; without a policy each
  /// thread gets memory where it runs, which is on one of those nodes already by ``cpus``.
  var memoryNode: Int?

  /// What the machine has of it now: a CPU that is offline is no reason not to start.
  init(of specification: InstanceSpecification, on machine: MachineResources = .now) {
    cpus = Set(specification.cpus).intersection(machine.onlineCPUs).sorted()
    let nodes = Set(specification.numaNodes).intersection(machine.nodesWithMemory)
    memoryNode = nodes.count == 1 ? nodes.first : nil
  }
}

/// The CPUs and the NUMA nodes of this machine, by sysfs. What can't be read is not there.
struct MachineResources: Equatable {
  var onlineCPUs: Set<Int>
  var nodesWithMemory: Set<Int>

  static var now: MachineResources {
    let folder = "/sys/devices/system"
    return MachineResources(
      onlineCPUs: numbers(SmallFile.text("\(folder)/cpu/online") ?? ""),
      nodesWithMemory: numbers(SmallFile.text("\(folder)/node/has_memory") ?? ""))
  }

  /// A list as sysfs writes it, "0-3,8"; what is none of that counts as empty.
  static func numbers(_ list: some StringProtocol) -> Set<Int> {
    Set(CPUSet(list: list.split(whereSeparator: \.isWhitespace).first ?? "")?.numbers ?? [])
  }
}
