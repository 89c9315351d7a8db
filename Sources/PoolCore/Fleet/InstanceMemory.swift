/// What an instance says that it holds in memory, and whether that is where it should be.
package struct InstanceMemory: Hashable, Sendable {
  /// What there is for the models of an instance that has GPUs, in bytes.
  struct Room: Hashable, Sendable {
    /// Of its GPUs together.
    var total: Int
    /// What is not the instance's: of others, of the driver.
    var taken: Int
  }

  /// A model that can't be wholly on the instance's GPUs, in bytes.
  package struct Misfit: Hashable, Sendable {
    package var model: String
    package var needs: Int
    package var has: Int
  }

  enum Verdict: Hashable, Sendable {
    /// The model would fit, and is not where it should be.
    case degraded(String)
    case doesNotFit(Misfit)
  }

  /// nil where it has not said so yet.
  package private(set) var loaded: [LoadedModel]?
  /// The most bytes that its models took on its GPUs at once.
  private(set) var mostOnGPU = 0
  /// What was told, one for each model.
  private var misfits: [Misfit] = []
  /// Since when, and in how many readings in a row, the driver sees nothing of it on its GPUs although models are said
  /// to be there; nil while it does, or can't tell.
  private var unseenSince: Instant?
  private var unseenReadings = 0

  package init() {}

  /// More models than any instance loads in its life: what is remembered of them has a bound.
  private static let mostMisfits = 64
  /// A model may be beside the GPU by so small a part of its size and count as on it: less than a layer of a model of
  /// a hundred. Ollama itself says `size_vram == size` only where every layer is on the GPU.
  private static let tolerance = 100
  /// The part of the memory that a model can't have, whoever else is there: the driver's, the compute context's, and
  /// what Ollama leaves free. A model that just about fits is in part on the CPU by Ollama's own choice.
  private static let reserve = 16

  /// Bytes of its GPUs that its models are said to take now.
  var onGPU: Int { (loaded ?? []).map(\.sizeOnGPU).sumOfBytes }

  /// Those of its models that don't fit.
  package var notes: [Misfit] {
    misfits.filter { misfit in loaded?.contains { $0.name == misfit.model } ?? false }
  }

  // MARK: What is heard

  mutating func say(_ models: [LoadedModel]?) {
    // It may not have been asked again.
    guard let models else { return }
    loaded = models
    mostOnGPU = max(mostOnGPU, onGPU)
    if onGPU == 0 { seen() }
  }

  /// The driver lists a process of it, or can't tell.
  mutating func seen() { (unseenSince, unseenReadings) = (nil, 0) }

  mutating func unseen(at now: Instant) {
    guard onGPU > 0 else { return seen() }
    unseenSince = unseenSince ?? now
    unseenReadings = min(unseenReadings + 1, 2)
  }

  // MARK: What follows

  /// One verdict on what it said last; nil where nothing is wrong, or nothing new.
  ///
  /// - Parameter room: nil where that is not known.
  mutating func verdict(room: Room?, limits: FleetLimits, at now: Instant) -> Verdict? {
    for model in loaded ?? [] {
      switch verdict(on: model, room: room) {
      case .doesNotFit(let misfit):
        guard !misfits.contains(where: { $0.model == model.name }), misfits.count < Self.mostMisfits else { continue }
        misfits.append(misfit)
        return .doesNotFit(misfit)
      case .degraded(let reason): return .degraded(reason)
      case nil: continue
      }
    }
    guard let unseenSince, unseenReadings >= 2, now - unseenSince >= limits.unseenFor else { return nil }
    return .degraded("its models are said to be on the GPU, and the driver sees no process of it there")
  }

  private func verdict(on model: LoadedModel, room: Room?) -> Verdict? {
    let size = max(0, model.size)
    let onGPU = min(max(0, model.sizeOnGPU), size)
    guard size - onGPU > size / Self.tolerance else { return nil }
    let degraded = Verdict.degraded(
      onGPU == 0
        ? "\(model.name) computes on the CPU" : "\(byteText(size - onGPU)) of \(model.name) are beside the GPU")
    guard let room else {
      return onGPU == 0 ? degraded : .doesNotFit(Misfit(model: model.name, needs: size, has: onGPU))
    }
    let besideOthers = [room.taken, self.onGPU - onGPU].sumOfBytes
    let has = room.total - min(room.total, besideOthers)
    if size > has { return .doesNotFit(Misfit(model: model.name, needs: size, has: has)) }
    let spared = has - min(has, room.total / Self.reserve)
    return onGPU > 0 && size > spared ? .doesNotFit(Misfit(model: model.name, needs: size, has: spared)) : degraded
  }
}
