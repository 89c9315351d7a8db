import PoolCore

/// The models that one instance holds, and what waits for one. As in Ollama's own scheduler there is one load at a
/// time, and while it loads, or waits until a model that is in use may go, all that came later waits behind it.
struct SimulatedMemory: Sendable {
  /// Who wants a model.
  struct Wish: Sendable {
    let model: String
    /// nil: nobody yet, it is loaded beforehand.
    let request: RequestID?
  }

  private struct Model: Sendable {
    let name: String
    /// Whether it was loaded to stay: it goes after those that were not.
    let isPinned: Bool
    /// Requests that it computes.
    var users = 0
  }

  /// At least 1.
  private let capacity: Int
  private let loadTime: Duration
  /// The longest unused first.
  private var models: [Model] = []
  /// In the order in which they came; the first one's model may be loading.
  private var wishes: [Wish] = []
  /// When the model of the first wish is there; nil while nothing loads.
  private(set) var loadedAt: Instant?

  init(capacity: Int, loadTime: Duration) {
    self.capacity = max(1, capacity)
    self.loadTime = loadTime
  }

  /// As `/api/ps` tells: also what is still loading. Sizes tell nothing here.
  var list: [LoadedModel] {
    let loading = loadedAt == nil ? nil : wishes.first?.model
    return (models.map(\.name) + [loading].compactMap(\.self)).map { LoadedModel(name: $0, size: 0, sizeOnGPU: 0) }
  }

  func holds(_ model: String) -> Bool { models.contains { $0.name == model } }

  // MARK: What happens

  /// It is there, however it came.
  mutating func hold(_ model: String) { if !holds(model) { models.append(Model(name: model, isPinned: true)) } }

  mutating func want(_ wish: Wish) { wishes.append(wish) }

  /// A request that waited gives up: a load for it alone is broken off.
  mutating func forget(_ request: RequestID) {
    guard let index = wishes.firstIndex(where: { $0.request == request }) else { return }
    let model = wishes.remove(at: index).model
    guard index == 0, loadedAt != nil else { return }
    // Somebody else who waits for the same goes on with it.
    if let other = wishes.firstIndex(where: { $0.model == model }) {
      wishes.insert(wishes.remove(at: other), at: 0)
    } else {
      loadedAt = nil
    }
  }

  /// A request for it has ended.
  mutating func left(_ model: String) { use(model, by: -1) }

  /// The load that was under way has ended.
  /// - Returns: of which model.
  mutating func loadEnded() -> String? {
    guard loadedAt != nil, let wish = wishes.first else { return nil }
    loadedAt = nil
    models.append(Model(name: wish.model, isPinned: wish.request == nil))
    return wish.model
  }

  /// - Returns: the request whose turn it is and whose model is there, with that; nil where nobody's is. To be called
  ///   until then.
  mutating func next(at now: Instant) -> (request: RequestID, model: String)? {
    while loadedAt == nil, let wish = wishes.first {
      guard holds(wish.model) else {
        if makeRoom() { loadedAt = now + loadTime }
        return nil
      }
      wishes.removeFirst()
      guard let request = wish.request else { continue }
      use(wish.model, by: 1)
      return (request, wish.model)
    }
    return nil
  }

  private mutating func use(_ model: String, by count: Int) {
    guard let index = models.firstIndex(where: { $0.name == model }) else { return }
    var used = models.remove(at: index)
    used.users += count
    models.append(used)
  }

  /// - Returns: whether there is room for one more.
  private mutating func makeRoom() -> Bool {
    if models.count < capacity { return true }
    let idle = models.indices.filter { models[$0].users == 0 }
    guard let index = idle.first(where: { !models[$0].isPinned }) ?? idle.first else { return false }
    models.remove(at: index)
    return true
  }
}
