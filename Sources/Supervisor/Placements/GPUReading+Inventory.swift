import GPUInventory
import Launching
import PoolCore

extension [GPUReading] {
  /// What was read, as the core decides by it.
  ///
  /// - Parameters:
  ///   - known: GPUs that placements have. One that a complete reading has nothing of is missing; one that is missing
  ///     in another may be the very GPU that could not be asked.
  ///   - owner: whose a process is.
  init(_ inventory: Inventory, known: [String], owner: (Int32) -> ProcessOwner) {
    let problems = Dictionary(grouping: inventory.problems) { $0.gpu }
    // Each process once, however many GPUs it is on.
    var owners: [Int32: GPUReading.Process.Owner] = [:]
    func named(_ pid: Int32) -> GPUReading.Process.Owner {
      if let known = owners[pid] { return known }
      let found = GPUReading.Process.Owner(owner(pid))
      owners[pid] = found
      return found
    }
    self = inventory.gpus.filter { $0.kind != .divided }.map { gpu in
      GPUReading(
        uuid: gpu.uuid, memoryTotal: gpu.memoryTotal.map { Int(clamping: $0) },
        memoryUsed: gpu.memoryUsed.map { Int(clamping: $0) },
        processes: gpu.processes.map { processes in
          processes.map {
            GPUReading.Process(pid: $0.pid, memory: $0.memory.map { Int(clamping: $0) }, owner: named($0.pid))
          }
        },
        trouble: GPUTrouble(gpu, [gpu.uuid, gpu.parent].compactMap(\.self).flatMap { problems[$0] ?? [] }))
    }
    let read = Set(map(\.uuid))
    let doubt = inventory.incompleteness
    for uuid in known where !read.contains(uuid) {
      append(GPUReading(uuid: uuid, trouble: doubt.map { .unanswered($0.description) } ?? .missing))
    }
  }
}

extension GPUTrouble {
  /// nil where nothing keeps it from being used: a value that can't be read is no trouble.
  init?(_ gpu: GPU, _ problems: [InventoryProblem]) {
    let gravest = problems.max { $0.kind < $1.kind }
    switch gravest?.kind {
    case .lost: self = .lost
    case .needsReset: self = .needsReset
    case .unknown: self = .missing
    case .silent, .partial, .aside, nil:
      if let node = gpu.missingDeviceNodes().first {
        self = .missingNode(node)
      } else if let gravest, gravest.kind == .silent {
        self = .unanswered(gravest.description)
      } else {
        return nil
      }
    }
  }
}

extension GPUReading.Process.Owner {
  init(_ owner: ProcessOwner) {
    self =
      switch owner {
      case .instance(let id): .instance(id)
      case .other(let command): .other(command: command)
      case .unknown: .unknown
      }
  }
}
