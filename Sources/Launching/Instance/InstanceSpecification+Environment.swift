import GPUInventory
import PoolConfiguration
import PoolCore

extension InstanceSpecification {
  /// Variables that say which GPUs a program sees. A launcher whose instances inherit its own environment removes
  /// them first.
  static let pinningVariables = [
    "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL",
    "GGML_VK_VISIBLE_DEVICES", "OLLAMA_VULKAN",
  ]

  /// The instance's variables, sorted by name.
  /// - Parameter home: where Ollama keeps its key and, unless `modelsPath` says otherwise, its models.
  func environment(port: UInt16, home: String) -> [(name: String, value: String)] {
    var variables = Dictionary(uniqueKeysWithValues: environment.map { ($0.name, $0.value) })
    variables["HOME"] = extraEnvironment["HOME"] ?? home
    variables["OLLAMA_HOST"] = Self.address(port: port)
    variables["POOL_PORT"] = String(port)
    variables["POOL_SPECIFICATION"] = digest
    return Self.sorted(variables)
  }

  static func address(port: UInt16) -> String { "127.0.0.1:\(port)" }

  /// Those that depend on nothing but the specification.
  var environment: [(name: String, value: String)] {
    var variables = extraEnvironment
    variables.merge(pins) { $1 }
    variables["OLLAMA_NUM_PARALLEL"] = String(slots)
    variables["OLLAMA_MODELS"] = modelsPath
    variables["OLLAMA_CONTEXT_LENGTH"] = contextLength.map { String($0) }
    variables["OLLAMA_KEEP_ALIVE"] = keepAlive?.environmentValue
    if !prunesStore { variables["OLLAMA_NOPRUNE"] = "1" }
    variables["POOL_INSTANCE"] = id.name
    // The stand-in is a Swift program: one that crashes is to end at once, and not to write a long backtrace first.
    variables["SWIFT_BACKTRACE"] = "enable=no"
    return Self.sorted(variables)
  }

  /// Its own GPUs for their vendor's runtime, and none for every other: Ollama would use what it finds. Vulkan ignores
  /// CUDA_VISIBLE_DEVICES and counts anew, so it stays off.
  private var pins: [String: String] {
    func devices(_ vendor: GPU.Vendor) -> String? {
      let uuids = gpus.filter { $0.vendor == vendor }.map(\.uuid)
      return uuids.isEmpty ? nil : uuids.joined(separator: ",")
    }
    var pins = [
      "CUDA_VISIBLE_DEVICES": devices(.nvidia) ?? "-1", "ROCR_VISIBLE_DEVICES": devices(.amd) ?? "-1",
      "OLLAMA_VULKAN": "0", "GGML_VK_VISIBLE_DEVICES": "-1",
    ]
    // It counts within what ROCR_VISIBLE_DEVICES leaves, so it must not be set where that names GPUs.
    if devices(.amd) == nil { pins["HIP_VISIBLE_DEVICES"] = "-1" }
    return pins
  }

  private static func sorted(_ variables: [String: String]) -> [(name: String, value: String)] {
    variables.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
  }
}
