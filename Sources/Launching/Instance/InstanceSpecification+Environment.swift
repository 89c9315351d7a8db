package import GPUInventory
import PoolConfiguration
import PoolCore

extension InstanceSpecification {
  /// The instance's variables, sorted by name.
  /// - Parameters:
  ///   - home: where Ollama keeps its key and, unless `modelsPath` says otherwise, its models.
  ///   - hidingOtherGPUs: whether device rules keep it from the nodes of all GPUs but its own.
  func environment(port: UInt16, home: String, hidingOtherGPUs: Bool) -> [(name: String, value: String)] {
    Self.sorted(extraEnvironment, with: ownVariables(port: port, home: home, hidingOtherGPUs: hidingOtherGPUs))
  }

  /// Those of them that the pool sets itself.
  func ownEnvironment(port: UInt16, home: String, hidingOtherGPUs: Bool) -> [(name: String, value: String)] {
    Self.sorted([:], with: ownVariables(port: port, home: home, hidingOtherGPUs: hidingOtherGPUs))
  }

  /// All others: what is configured or inherited.
  var privateEnvironment: [(name: String, value: String)] {
    let own = ownVariables(port: 0, home: "", hidingOtherGPUs: false)
    return Self.sorted(extraEnvironment.filter { own[$0.key] == nil }, with: [:])
  }

  static func address(port: UInt16) -> String { "127.0.0.1:\(port)" }

  /// Those that depend on nothing but the specification.
  func environment(hidingOtherGPUs: Bool) -> [(name: String, value: String)] {
    Self.sorted(extraEnvironment, with: ownVariables(hidingOtherGPUs: hidingOtherGPUs))
  }

  /// A value is nil where there is to be none, whatever is configured.
  private func ownVariables(port: UInt16, home: String, hidingOtherGPUs: Bool) -> [String: String?] {
    var variables = ownVariables(hidingOtherGPUs: hidingOtherGPUs)
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
    return variables
  }

  private func ownVariables(hidingOtherGPUs: Bool) -> [String: String?] {
    var variables: [String: String?] = Self.pins(of: gpus, othersAreHidden: hidingOtherGPUs)
    variables["OLLAMA_NUM_PARALLEL"] = String(slots)
    variables.updateValue(modelsPath, forKey: "OLLAMA_MODELS")
    variables.updateValue(contextLength.map { String($0) }, forKey: "OLLAMA_CONTEXT_LENGTH")
    variables.updateValue(keepAlive?.environmentValue, forKey: "OLLAMA_KEEP_ALIVE")
    variables["POOL_INSTANCE"] = id.name
    // The stand-in is a Swift program: one that crashes is to end at once, and not to write a long backtrace first.
    variables["SWIFT_BACKTRACE"] = extraEnvironment["SWIFT_BACKTRACE"] ?? "enable=no"
    return variables
  }

  /// Its own GPUs for their vendor's runtime, and none for every other: Ollama would use what it finds. Vulkan ignores
  /// CUDA_VISIBLE_DEVICES and counts anew, so it stays off.
  ///
  /// By UUID, a slice of a divided GPU by its own (MIG-…); an AMD GPU that has none by the number that its runtime
  /// gives it. With UUIDs CUDA_DEVICE_ORDER would say nothing: it orders what is counted, and the list here is the
  /// order.
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

  private static func sorted(
    _ variables: [String: String], with own: [String: String?]
  ) -> [(name: String, value: String)] {
    variables.mapValues(Optional.init).merging(own) { $1 }
      .compactMap { name, value in value.map { (name: name, value: $0) } }.sorted { $0.name < $1.name }
  }
}
