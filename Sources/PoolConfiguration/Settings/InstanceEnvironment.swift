/// Which variables an operator may give to instances.
package enum InstanceEnvironment {
  /// Those that say which GPUs a program sees. A launcher whose instances inherit its own environment removes them
  /// first.
  package static let pinningVariables: Set = [
    "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL",
    "GGML_VK_VISIBLE_DEVICES", "OLLAMA_VULKAN",
  ]

  /// What to use instead of a variable by which the pool itself steers an instance; `nil` for any other.
  package static func remedy(insteadOf name: String) -> String? {
    switch name {
    case "OLLAMA_HOST": "the key instance_ports"
    case let name where pinningVariables.contains(name):
      "the keys gpus and placements, which pin each instance to its own GPUs"
    case "OLLAMA_NUM_PARALLEL": "the key slots"
    case "OLLAMA_MODELS": "the key models_path"
    case "OLLAMA_CONTEXT_LENGTH": "the key context_length"
    case "OLLAMA_KEEP_ALIVE": "the key keep_alive"
    case let name where name.hasPrefix("POOL_"): "a name that does not begin with POOL_"
    default: nil
    }
  }

  static func isName(_ name: String) -> Bool {
    name.isMade(of: "_") && name.utf8.count <= 128 && name.first.map { $0.isLetter || $0 == "_" } == true
  }

  /// systemd takes no control characters but tabs.
  static func isValue(_ value: String) -> Bool {
    value.utf8.count <= 32_768
      && value.unicodeScalars.allSatisfy { ($0.value >= 0x20 && $0.value != 0x7f) || $0 == "\t" }
  }
}
