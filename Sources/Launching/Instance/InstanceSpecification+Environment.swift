package import GPUInventory
import PoolConfiguration
import PoolCore

extension InstanceSpecification {
  /// The instance's variables, sorted by name.
  /// - Parameters:
  ///   - home: where Ollama keeps its key and, unless `modelsPath` says otherwise, its models.
  ///   - hidingOtherGPUs: whether device rules keep it from the nodes of all GPUs but its own.
  func environment(port: UInt16, home: String, hidingOtherGPUs: Bool) -> [(name: String, value: String)] {
    var variables = Dictionary(
      uniqueKeysWithValues: environment(hidingOtherGPUs: hidingOtherGPUs).map { ($0.name, $0.value) })
    variables["HOME"] = extraEnvironment["HOME"] ?? home
    variables["OLLAMA_HOST"] = Self.address(port: port)
    variables["POOL_PORT"] = String(port)
    // By their names, which the pins are not always; nothing for the CPU.
    variables["POOL_GPUS"] = gpuNames.joined(separator: ",")
    variables["POOL_SPECIFICATION"] = digest
    if !ownsStore {
      variables["OLLAMA_NOPRUNE"] = "1"
    } else if !prunesStore {
      // Not in the digest: what else ran when it started must not have a healthy instance replaced.
      variables["OLLAMA_NOPRUNE"] = extraEnvironment["OLLAMA_NOPRUNE"] ?? "1"
    }
    return Self.sorted(variables)
  }

  /// Those that are configured or inherited, and that the pool doesn't set itself.
  var privateEnvironment: [(name: String, value: String)] {
    let own = environment(hidingOtherGPUs: false)
    let names = ["HOME", "OLLAMA_NOPRUNE", "SWIFT_BACKTRACE"]
    return Self.sorted(
      extraEnvironment.filter { name, value in
        !names.contains(name) && own.contains { $0.name == name && $0.value == value }
      })
  }

  static func address(port: UInt16) -> String { "127.0.0.1:\(port)" }

  /// Those that depend on nothing but the specification.
  func environment(hidingOtherGPUs: Bool) -> [(name: String, value: String)] {
    var variables = extraEnvironment
    variables.merge(Self.pins(of: gpus, othersAreHidden: hidingOtherGPUs)) { $1 }
    variables["OLLAMA_NUM_PARALLEL"] = String(slots)
    variables["OLLAMA_MODELS"] = modelsPath
    variables["OLLAMA_CONTEXT_LENGTH"] = contextLength.map { String($0) }
    variables["OLLAMA_KEEP_ALIVE"] = keepAlive?.environmentValue
    variables["POOL_INSTANCE"] = id.name
    // The stand-in is a Swift program: one that crashes is to end at once, and not to write a long backtrace first.
    variables["SWIFT_BACKTRACE"] = extraEnvironment["SWIFT_BACKTRACE"] ?? "enable=no"
    return Self.sorted(variables)
  }

  /// Its own GPUs for their vendor's runtime, and none for every other: Ollama would use what it finds. Vulkan ignores
  /// CUDA_VISIBLE_DEVICES and counts anew, so it stays off.
  ///
  /// By UUID, a slice of a divided GPU by its own (MIG-…); an AMD GPU that has none by the number that its runtime gives
  /// it. With UUIDs CUDA_DEVICE_ORDER would say nothing: it orders what is counted, and the list here is the order.
  package static func pins(of gpus: [GPU.Pin], othersAreHidden: Bool) -> [String: String] {
    let amd = gpus.filter { $0.vendor == .amd }
    return [
      "OLLAMA_VULKAN": "0", "GGML_VK_VISIBLE_DEVICES": "-1",
      "CUDA_VISIBLE_DEVICES": gpus.visibleDevices(of: .nvidia, othersAreHidden: othersAreHidden),
      "ROCR_VISIBLE_DEVICES": gpus.visibleDevices(of: .amd, othersAreHidden: othersAreHidden),
      // A choice among what ROCR_VISIBLE_DEVICES leaves: all of it. Where this is not set, AMD's runtime takes
      // CUDA_VISIBLE_DEVICES for it.
      "HIP_VISIBLE_DEVICES": amd.isEmpty ? "-1" : amd.indices.map(String.init).joined(separator: ","),
    ]
  }

  private static func sorted(_ variables: [String: String]) -> [(name: String, value: String)] {
    variables.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
  }
}
