/// What an instance says that it holds in memory, and whether that is where it should be.
package struct InstanceMemory: Hashable, Sendable {
  /// What there is for the models of an instance that has GPUs, in bytes.
  struct Room: Hashable, Sendable {
    /// Of its GPUs together.
    var total: Int
    /// What is not the instance's: of others, of the driver.
    var taken: Int
    /// When that was read.
    var readAt: Instant
  }

  /// Why a model may be on the CPU, in part or wholly, without a fault of the instance.
  package enum WhyBeside: Hashable, Sendable, CustomStringConvertible {
    /// Bytes that it takes, and that there are for it.
    case doesNotFit(needs: Int, has: Int)
    /// An earlier instance was taken out for it, and it is the same in a new process that does use its GPU: its own
    /// parameters (`num_gpu`) say so, or its kind.
    case byItself

    package var description: String {
      switch self {
      case .doesNotFit(let needs, let has): "takes \(byteText(needs)) and has \(byteText(has)) of GPU memory"
      case .byItself: "stays beside the GPU by itself (its own num_gpu?), also in a new process"
      }
    }
  }

  package struct Note: Hashable, Sendable {
    package var model: String
    package var reason: WhyBeside
  }

  enum Verdict: Hashable, Sendable {
    /// A model would fit, and is not where it should be; or nil: the driver sees nothing of any.
    case degraded(String?, reason: String)
    /// It did not fit when it was loaded, and would by now.
    case fitsByNow(String, reason: String)
    case wellBeside(String, WhyBeside)
  }

  /// nil where it has not said so yet.
  package private(set) var loaded: [LoadedModel]?
  /// Their names.
  var models: [String] { loaded?.map(\.name) ?? [] }
  /// The most bytes that its models took on its GPUs at once.
  private(set) var mostOnGPU = 0
  /// What was told, one for each model.
  private var told: [Note] = []
  /// Models that were in memory when it told of them last, and not wholly on the GPU.
  private var beside: [String: Stay] = [:]
  /// Models that were wholly on the GPU at some time.
  private var seenOnGPU: Set<String> = []
  /// Since when, and in how many readings in a row, the driver sees nothing of it on its GPUs although models are said
  /// to be there; nil while it does, or can't tell.
  private var unseenSince: Instant?
  private var unseenReadings = 0

  package init() {}

  private struct Stay: Hashable {
    var since: Instant
    /// Whether there was no room for it.
    var lackedRoom = false
  }

  /// More models than any instance loads in its life: what is remembered of them has a bound.
  private static let mostRemembered = 64
  /// A model may be beside the GPU by so small a part of its size and count as on it: less than a layer of a model of
  /// a hundred. Ollama itself says `size_vram == size` only where every layer is on the GPU.
  private static let tolerance = 100
  /// What of the memory a model can't have, whoever else is there: the driver's, the compute context's, and what Ollama
  /// leaves free, about 1 GiB. A model that just about fits is in part on the CPU by Ollama's own choice.
  static func reserve(of total: Int) -> Int { max(total / 16, 3 << 29) }

  /// Bytes of its GPUs that its models are said to take now.
  var onGPU: Int { (loaded ?? []).map(\.sizeOnGPU).sumOfBytes }

  /// Those of its models that are beside the GPU without a fault of its own.
  package var notes: [Note] {
    told.filter { note in loaded?.contains { $0.name == note.model } ?? false }
  }

  // MARK: What is heard

  /// - Parameter models: nil where it has not told lately: then nothing is known.
  mutating func say(_ models: [LoadedModel]?, at now: Instant) {
    loaded = models
    mostOnGPU = max(mostOnGPU, onGPU)
    if let models {
      let stays = models.filter { !Self.isOnGPU($0) }.prefix(Self.mostRemembered)
        .map { ($0.name, beside[$0.name] ?? Stay(since: now)) }
      beside = Dictionary(stays) { first, _ in first }
    }
    for model in models ?? [] where model.size > 0 && Self.isOnGPU(model) {
      if seenOnGPU.count < Self.mostRemembered { seenOnGPU.insert(model.name) }
      told.removeAll { $0.model == model.name }
    }
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

  /// Whether there may be a verdict: hardly ever, and it is asked for all the time.
  var isInDoubt: Bool { unseenSince != nil || (loaded ?? []).contains { !Self.isOnGPU($0) } }

  /// One verdict on what it said last; nil where nothing is wrong, or nothing new.
  ///
  /// - Parameters:
  ///   - room: nil where that is not known.
  ///   - suspects: models that earlier instances were taken out for.
  mutating func verdict(room: Room?, suspects: Set<String>, limits: FleetLimits, at now: Instant) -> Verdict? {
    for model in loaded ?? [] where !Self.isOnGPU(model) {
      // Others may have had the room while it was loaded: what was read before tells nothing of that.
      if let room, let stay = beside[model.name], room.readAt < stay.since { continue }
      var verdict = verdict(on: model, room: room)
      if case .degraded = verdict, isThereByItself(model, suspects) { verdict = .wellBeside(model.name, .byItself) }
      if case .degraded(_, let reason) = verdict, beside[model.name]?.lackedRoom == true {
        verdict = .fitsByNow(model.name, reason: reason + ", and there is room for it by now")
      }
      guard case .wellBeside(_, let reason) = verdict else { return verdict }
      if case .doesNotFit = reason, room != nil { beside[model.name]?.lackedRoom = true }
      guard !told.contains(where: { $0.model == model.name }), told.count < Self.mostRemembered else { continue }
      told.append(Note(model: model.name, reason: reason))
      return verdict
    }
    guard let unseenSince, unseenReadings >= 2, now - unseenSince >= limits.unseenFor else { return nil }
    return .degraded(nil, reason: "its models are said to be on the GPU, and the driver sees no process of it there")
  }

  /// Whether a model that would fit is beside the GPU for a reason of its own: this process uses its GPU, for another
  /// model or for a part of this one, which it has never had there wholly; and an earlier process was taken out for it
  /// in vain.
  private func isThereByItself(_ model: LoadedModel, _ suspects: Set<String>) -> Bool {
    if told.contains(where: { $0.model == model.name && $0.reason == .byItself }) { return true }
    return suspects.contains(model.name) && !seenOnGPU.contains(model.name)
      && (!seenOnGPU.isEmpty || model.sizeOnGPU > 0)
  }

  private static func isOnGPU(_ model: LoadedModel) -> Bool {
    let size = max(0, model.size)
    return size - min(max(0, model.sizeOnGPU), size) <= size / tolerance
  }

  /// On one that is not wholly on the GPU.
  private func verdict(on model: LoadedModel, room: Room?) -> Verdict {
    let size = max(0, model.size)
    let onGPU = min(max(0, model.sizeOnGPU), size)
    func misfit(_ has: Int) -> Verdict { .wellBeside(model.name, .doesNotFit(needs: size, has: has)) }
    let degraded = Verdict.degraded(
      model.name,
      reason: onGPU == 0
        ? "\(model.name) computes on the CPU" : "\(byteText(size - onGPU)) of \(model.name) are beside the GPU")
    guard let room else { return onGPU == 0 ? degraded : misfit(onGPU) }
    let besideOthers = [room.taken, self.onGPU - onGPU].sumOfBytes
    let has = room.total - min(room.total, besideOthers)
    if size > has { return misfit(has) }
    let spared = has - min(has, Self.reserve(of: room.total))
    return onGPU > 0 && size > spared ? misfit(spared) : degraded
  }
}
