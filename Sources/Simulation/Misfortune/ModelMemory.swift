import PoolCore

/// What one `ollama serve` holds in memory, and what it loads: one model at a time, and while it does, everybody waits.
struct ModelMemory: Hashable, Sendable {
  struct Model: Hashable, Sendable {
    var kind: DispatchRequest.Kind
    /// When its load is over. It is listed from the beginning of it.
    var readyAt: Instant
  }

  /// The longest unused first.
  private(set) var models: [Model] = []
  private var freeAt = Instant.zero

  /// Somebody wants this model.
  ///
  /// - Parameters:
  ///   - capacity: how many models have room.
  ///   - time: of a load.
  /// - Returns: when it is there.
  mutating func use(_ kind: DispatchRequest.Kind, capacity: Int, load time: Duration, at now: Instant) -> Instant {
    let start = max(now, freeAt)
    if let index = models.firstIndex(where: { $0.kind == kind }) {
      let model = models.remove(at: index)
      models.append(model)
      return max(start, model.readyAt)
    }
    models.removeAll { $0.kind.model == kind.model }
    if models.count >= capacity { models.removeFirst() }
    freeAt = start + time
    models.append(Model(kind: kind, readyAt: freeAt))
    return freeAt
  }

  /// Ollama makes room for something.
  mutating func evict(_ index: Int) { if models.indices.contains(index) { models.remove(at: index) } }

  /// As `/api/ps` tells.
  ///
  /// - Parameters:
  ///   - size: of each model, in bytes.
  ///   - isOnCPU: whether it is where it should not be.
  func list(size: Int, isOnCPU: Bool) -> [LoadedModel] {
    models.map {
      LoadedModel(
        name: $0.kind.model ?? "", size: size, sizeOnGPU: isOnCPU ? 0 : size,
        contextLength: $0.kind.options.contextLength ?? 4096)
    }
  }
}
