package import PoolCore

/// What the pool's operator has settled for the requests to one model.
package struct ModelRule: Hashable, Sendable {
  package enum ContextLength: Hashable, Sendable {
    /// Whatever a request says, or doesn't: so that no request makes an instance load the model anew. Only Ollama's own
    /// API can name a length; with others' the instance's default holds.
    case fixed(Int)
    /// What a request asks for beyond is cut down to it.
    case most(Int)

    /// - Parameter asked: nil where the request names none.
    package func granted(_ asked: Int?) -> Int? {
      switch self {
      case .fixed(let length): length
      case .most(let most): asked.map { min($0, most) }
      }
    }
  }

  /// `num_ctx`, in tokens; nil for whatever requests say.
  package var contextLength: ContextLength?
  /// Whether as many layers go to the GPU as fit, whatever a request's `num_gpu` says. One that names few would have
  /// its model on the CPU, for everybody.
  package var placesLayersByRoom: Bool

  package init(contextLength: ContextLength? = nil, placesLayersByRoom: Bool = false) {
    self.contextLength = contextLength
    self.placesLayersByRoom = placesLayersByRoom
  }

  /// What a model is loaded with for a request with these options.
  package func granted(_ asked: RunnerOptions) -> RunnerOptions {
    var options = asked
    if let contextLength { options.contextLength = contextLength.granted(asked.contextLength) }
    if placesLayersByRoom { options.gpuLayers = nil }
    return options
  }

  /// Whether it leaves every request as it is.
  var isEmpty: Bool { self == ModelRule() }
}

/// The rules of a pool.
package struct ModelRules: Hashable, Sendable {
  /// By the models' normalised names.
  package var named: [String: ModelRule]
  /// For all other models.
  package var others: ModelRule

  package init(_ named: [String: ModelRule] = [:], others: ModelRule = ModelRule()) {
    self.named = named
    self.others = others
  }

  /// - Parameter model: by any of its names.
  package subscript(model: String) -> ModelRule { named[ModelName.key(of: model)] ?? others }
}
