import PoolCore

/// What an operator wants of one model.
package struct ModelSettings: Sendable, Equatable {
  /// Tokens of context: what a request asks for does not count; `nil`: it does.
  package var numCtx: Int?
  /// The most tokens of context that a request may ask for.
  package var maxNumCtx: Int?
  /// GPU memory that it takes with its context; `nil`: what it took when it was last loaded.
  package var gpuMemory: ByteCount?

  package init() {}
}

extension Settings {
  /// GPU memory that must be free before an instance is started in this placement, or, for `nil`, in one of those that
  /// the pool finds itself; `nil` where the configuration does not say.
  package func neededMemory(in placement: PlacementSettings? = nil) -> ByteCount? {
    if let given = placement?.gpuMemory ?? gpuMemory { return given }
    let served = Set((placement?.models ?? []).map(ModelName.key))
    let sizes = Dictionary(
      models.compactMap { name, model in model.gpuMemory.map { (ModelName.key(of: name), $0.bytes) } },
      uniquingKeysWith: max)
    let preloaded = Set(preload.map(ModelName.key)).filter { served.isEmpty || served.contains($0) }
    let bytes = preloaded.compactMap { sizes[$0] }.reduce(0, +)
    return bytes > 0 ? ByteCount(bytes: bytes) : nil
  }
}
