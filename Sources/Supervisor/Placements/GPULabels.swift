import GPUInventory

/// How people call the GPUs: by the pool's numbers, `1`, and MIG slices by their GPU's and that of their GPU instance,
/// `1.7`, with the compute instance's where it is not the first, `1.7.2`.
struct GPULabels: Sendable {
  private var numbers: [String: Int] = [:]
  private var labels: [String: String] = [:]

  /// A configured list is counted by position, as its placements do; what the drivers found keeps the number it got
  /// first.
  init(_ inventory: Inventory, _ numbering: GPUNumbering) {
    for gpu in inventory.gpus {
      let owner = gpu.parent ?? gpu.uuid
      let number =
        (inventory.source == .drivers ? numbering.number(of: owner) : nil)
        ?? inventory.gpus.first { $0.uuid == owner }?.index ?? gpu.index
      numbers[gpu.uuid] = number
      labels[gpu.uuid] = "\(number)" + gpu.sliceSuffix
    }
  }

  /// For a GPU that is not there any more, its UUID.
  subscript(uuid: String) -> String { labels[uuid] ?? uuid }

  func number(of gpu: GPU) -> Int { numbers[gpu.uuid] ?? gpu.index }

  /// All GPUs that a label names: one, or the slices of one that is divided.
  func uuids(of label: String, in gpus: [GPU]) -> [String] {
    gpus.filter { labels[$0.uuid] == label || $0.uuid == label }.flatMap { named in
      named.kind == .divided ? gpus.filter { $0.parent == named.uuid }.map(\.uuid) : [named.uuid]
    }
  }

  /// The order in which they are listed: slices behind their GPU.
  func order(_ gpu: GPU) -> (Int, Int, Int) {
    guard case .slice(_, let gpuInstance, let computeInstance) = gpu.kind else { return (number(of: gpu), -1, -1) }
    return (number(of: gpu), gpuInstance, computeInstance)
  }
}

extension GPU {
  var isSlice: Bool { parent != nil }

  fileprivate var sliceSuffix: String {
    guard case .slice(_, let gpuInstance, let computeInstance) = kind else { return "" }
    return ".\(gpuInstance)" + (computeInstance > 0 ? ".\(computeInstance)" : "")
  }
}
