import GPUInventory
import PoolConfiguration

/// Variables that go against the pins, or seem to.
enum VariableExamination {
  private static let check = "variables"

  /// One that reaches the pool or its instances, and from where.
  struct Variable: Equatable, Sendable {
    /// As in "of this shell".
    var origin: String
    var name: String
    var value: String
    /// Whether instances get it as it is.
    var isConfigured = false
  }

  static func configured(_ settings: Settings) -> [Variable] {
    var variables = settings.environment.map {
      Variable(origin: "`environment` in the configuration", name: $0.key, value: $0.value, isConfigured: true)
    }
    if case .list(let placements) = settings.placements {
      for (index, placement) in placements.enumerated() {
        let origin = "`environment` of placement \(placement.id ?? "\(index)")"
        variables += placement.environment.map {
          Variable(origin: origin, name: $0.key, value: $0.value, isConfigured: true)
        }
      }
    }
    return variables
  }

  /// - Parameter entries: "NAME=value" each.
  static func variables(_ entries: [String], of origin: String) -> [Variable] {
    entries.compactMap { entry in
      guard let equals = entry.firstIndex(of: "=") else { return nil }
      return Variable(
        origin: origin, name: String(entry[..<equals]), value: String(entry[entry.index(after: equals)...]))
    }
  }

  /// - Parameter hasNVIDIA: whether a GPU of NVIDIA's has answered; nil where none was asked.
  static func findings(_ variables: [Variable], _ choice: GPUChoice, hasNVIDIA: Bool?) -> [Finding] {
    let findings = variables.sorted { ($0.name, $0.origin) < ($1.name, $1.origin) }
      .compactMap { finding($0, choice, hasNVIDIA) }
    return findings.isEmpty ? [.ok(check, "none goes against the pins")] : findings
  }

  private static func finding(_ variable: Variable, _ choice: GPUChoice, _ hasNVIDIA: Bool?) -> Finding? {
    let text = "\(variable.name)=\(variable.value) of \(variable.origin)"
    switch variable.name {
    case "OLLAMA_VULKAN":
      if ["0", "false"].contains(variable.value.lowercased()) { return nil }
      return .warning(
        check, "\(text) has no effect: Vulkan ignores the pins, so it is off in every instance",
        remedy: "take it away; GPUs are used by CUDA and ROCm")
    case let name where InstanceEnvironment.pinningVariables.contains(name):
      let (used, remedy) =
        switch choice {
        case .auto: ("all GPUs", "take it away; to keep the pool to some GPUs list them under `gpus`, by UUID")
        case .cpu: ("no GPU (`gpus: cpu`)", "take it away")
        case .list: ("the GPUs that are listed under `gpus`", "take it away, and correct the list if it is not right")
        }
      return .warning(
        check, "\(text) has no effect: the pool uses \(used), and pins each instance itself", remedy: remedy)
    case "NVIDIA_VISIBLE_DEVICES":
      // Where devices are given by CDI that sets it to void, in containers that have GPUs.
      if hasNVIDIA != false || !["void", "none", ""].contains(variable.value) { return nil }
      return .warning(
        check, "\(text): the container that this is in gets no GPU of NVIDIA's",
        remedy: "start it with GPUs: \(DriverExamination.containerOptions)")
    case "OLLAMA_LLM_LIBRARY" where ["cpu", "vulkan"].contains { variable.value.lowercased().hasPrefix($0) }:
      return .warning(
        check, "\(text) keeps an instance from the GPU that it is pinned to",
        remedy: "take it away, or name a library for the GPUs, such as cuda_v13")
    case "HSA_OVERRIDE_GFX_VERSION":
      return .ok(check, "\(text): AMD's runtime takes every GPU of an instance for that one, also where it is another")
    default: return nil
    }
  }
}
