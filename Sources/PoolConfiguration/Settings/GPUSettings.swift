/// Which GPUs the pool uses.
package enum GPUChoice: Sendable, Equatable {
  /// All that the drivers of NVIDIA and AMD show, MIG slices too; where there never was one, one instance on the CPU.
  case auto
  /// One instance on the CPU.
  case cpu
  /// These and no others. Never empty.
  case list([GPUSettings])
}

/// One GPU as the operator describes it.
package struct GPUSettings: Sendable, Equatable {
  /// The name that CUDA_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES understands.
  package var uuid: String
  package var name: String?
  /// What has room on it; `nil`: as its driver says.
  package var memory: ByteCount?
  /// The PCI address, such as `0000:41:00.0`, by which its CPUs and its NUMA node are known; `nil`: as its driver says.
  package var pci: String?
  /// Device nodes that an instance on it may open, such as `/dev/nvidia0`.
  package var nodes: [String] = []
  package var vendor = Vendor.nvidia

  package enum Vendor: String, Sendable, CaseIterable {
    case nvidia
    case amd
  }

  package init(uuid: String) { self.uuid = uuid }
}

/// What runs where.
package enum PlacementChoice: Sendable, Equatable {
  /// One instance for each GPU and each MIG slice, or for each group of `gpusPerInstance`.
  case auto
  /// These and no others. Never empty.
  case list([PlacementSettings])
}

extension Settings {
  /// The only models that there are placements for; nil for any.
  package var servedModels: Set<String>? {
    guard case .list(let placements) = placements, placements.allSatisfy({ !$0.models.isEmpty }) else { return nil }
    return Set(placements.flatMap(\.models))
  }
}

/// One instance's place: the GPUs it sees.
package struct PlacementSettings: Sendable, Equatable {
  /// The instance's name, 1 to 32 of `a-z0-9_.-`; `nil`: `gpu` with its first GPU's number.
  package var id: String?
  /// Never empty, each GPU once.
  package var gpus: [GPUReference]
  /// `nil`: the pool's `slots`.
  package var slots: Int?
  /// Whether other placements may use the same GPUs.
  package var shared = false
  /// The only models that it serves; empty: any.
  package var models: [String] = []
  /// GPU memory that must be free before it starts; `nil`: the pool's `gpu_memory`.
  package var gpuMemory: ByteCount?
  /// `nil`: the pool's.
  package var contextLength: Int?
  package var keepAlive: KeepAlive?
  /// Variables of this instance besides, and before, the pool's `environment`.
  package var environment: [String: String] = [:]

  package init(gpus: [GPUReference]) { self.gpus = gpus }
}

/// How a placement names a GPU.
package enum GPUReference: Sendable, Hashable, CustomStringConvertible {
  /// The position in the list under `gpus`, from 0; without such a list the pool's number of the GPU, the 2 of `gpu2`.
  case index(Int)
  case uuid(String)

  package var description: String {
    switch self {
    case .index(let index): "\(index)"
    case .uuid(let uuid): uuid
    }
  }
}
