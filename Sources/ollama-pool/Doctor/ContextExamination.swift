import PoolConfiguration
import PoolCore

/// Lengths of context that make requests of different APIs load one model over and over.
enum ContextExamination {
  private static let check = "configuration"

  static func findings(_ settings: Settings) -> [Finding] {
    let fixed = settings.models.compactMap { name, model in model.numCtx.map { (name: name, length: $0) } }
    return fixed.sorted { $0.name < $1.name }.compactMap { model in
      let others = lengths(of: model.name, settings).filter { $0 != model.length }
      guard let other = others.first else { return nil }
      return .ok(
        check,
        "\(model.name): requests by OpenAI's and Anthropic's APIs, which can't name a length, get context_length "
          + "(\(other.map { "\($0)" } ?? "auto")), others num_ctx (\(model.length)), and each kind loads it anew after "
          + "the other: the same value for both keys ends that")
    }
  }

  /// What the instances have that may serve a model; nil: Ollama decides.
  private static func lengths(of model: String, _ settings: Settings) -> [Int?] {
    guard case .list(let placements) = settings.placements else { return [settings.contextLength] }
    let name = ModelName.key(of: model)
    let serving = placements.filter { placement in
      placement.models.isEmpty || placement.models.contains { ModelName.key(of: $0) == name }
    }
    return serving.map { $0.contextLength ?? settings.contextLength }
  }
}
