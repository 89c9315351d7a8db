import OrderedCollections

/// What instances hold in memory, and models under `preload` that are there no longer.
extension Dispatch {
  /// What is in Ollama's list for so long has come into memory meanwhile, in most cases.
  private static let longestLoad: Duration = .seconds(60)
  /// Models that an instance may be known to hold; Ollama's own bound is three for each GPU, unless configured.
  private static let mostHeld = 256

  /// Asks the instance as soon as the question that is outstanding has its answer.
  mutating func askLoaded(_ id: InstanceID, at now: Instant) -> [DispatchAction] {
    guard let instance = instances[id], instance.isHealthy else { return [] }
    guard instance.list.askedAt == nil else {
      instances[id]?.list.isOvertaken = true
      return []
    }
    instances[id]?.list.askedAt = now
    instances[id]?.list.isOvertaken = false
    return [.askLoaded(id, instance.wanted.invocation)]
  }

  /// Asks whom it is time to ask, and forgets what is too old.
  mutating func listsDue(at now: Instant) -> [DispatchAction] {
    var actions: [DispatchAction] = []
    for (place, id) in instances.keys.enumerated() {
      let list = instances.values[place].list
      if let answered = list.answeredAt, now - answered >= limits.listLifetime { forgetList(of: id, at: now) }
      if list.due <= now, list.askedAt == nil { actions += askLoaded(id, at: now) }
    }
    return actions
  }

  private mutating func forgetList(of id: InstanceID, at now: Instant) {
    guard var instance = instances[id] else { return }
    instance.list.answeredAt = nil
    instance.loaded = nil
    instance.held = instance.held.filter { now - $0.value.knownAt < limits.listLifetime }
    instances[id] = instance
    revision += 1
  }

  /// The answer to `.askLoaded`.
  ///
  /// - Parameter models: by their normalised names; nil where there was no answer, which says nothing of its health.
  package mutating func loadedListed(
    _ id: InstanceID, _ invocation: InvocationID, _ models: [LoadedModel]?, at now: Instant
  ) -> [DispatchAction] {
    guard var instance = instances[id], instance.wanted.invocation == invocation, let asked = instance.list.askedAt
    else { return [] }
    instance.list.askedAt = nil
    instance.list.due = instance.list.isOvertaken ? now : now + limits.listInterval
    var reports: [DispatchAction] = []
    if let models {
      let models = models.sorted { $0.name < $1.name }
      instance.list.answeredAt = now
      if instance.loaded != models { revision += 1 }
      instance.loaded = models
      hold(models, on: &instance, asked: asked)
      if instance.isHealthy { reports = look(at: models, for: &instance, asked: asked, now) }
    }
    instances[id] = instance
    let again = instance.list.isOvertaken ? askLoaded(id, at: now) : []
    return reports + again + assignFreeSlots(at: now) + preloadsDue(at: now)
  }

  private func hold(_ models: [LoadedModel], on instance: inout DispatchedInstance, asked: Instant) {
    let listed = Dictionary(models.map { ($0.name, $0) }) { first, _ in first }
    instance.held = instance.held.filter { listed[$0.key] != nil || $0.value.knownAt > asked }
    // What is listed may still be on its way into memory; Ollama's list does not tell.
    var awaited: Set<String> = []
    var options: [String: RunnerOptions] = [:]
    for id in instance.unbegun {
      guard let request = unbegun(id), let model = request.model else { continue }
      options[model] = request.options
      if isLoading(for: id, at: asked) { awaited.insert(model) }
    }
    if let loading = instance.loading { awaited.insert(Self.key(ofPreload: loading)) }
    for (name, model) in listed {
      if instance.held[name] != nil {
        instance.held[name]?.listed(model, at: asked)
      } else if !awaited.contains(name), instance.held.count < Self.mostHeld {
        instance.held[name] = HeldModel(
          options: options[name], contextLength: model.contextLength, knownAt: asked)
      }
    }
  }

  /// Whether the model of a request whose answer has not begun may still be loading. An answer that is no stream begins
  /// when it is complete: by then others must not have waited for what was in memory long before.
  private func isLoading(for id: RequestID, at now: Instant) -> Bool {
    guard case .assigned(_, _, let since, nil) = requests[id]?.phase else { return false }
    return now - since < Self.longestLoad
  }

  /// An answer to inference has begun: its model is in memory.
  ///
  /// - Returns: the question what else is, if this is news, and a report of a load that its options cost.
  mutating func showedLoaded(_ request: DispatchRequest, on id: InstanceID, at now: Instant) -> [DispatchAction] {
    guard let model = request.model, let instance = instances[id] else { return [] }
    guard let held = instance.held[model] else {
      if instance.held.count < Self.mostHeld {
        instances[id]?.held[model] = HeldModel(options: request.options, knownAt: now)
      }
      return askLoaded(id, at: now)
    }
    let before = held.options ?? RunnerOptions(contextLength: held.contextLength)
    guard instances[id]?.held[model]?.answered(request.options, at: now) == true else { return [] }
    return [.report(.modelReloaded(by: request.id, on: id, model: model, from: before, to: request.options))]
      + askLoaded(id, at: now)
  }

  // MARK: Preload

  /// The normalised name of a model under `preload`.
  package static func key(ofPreload model: String) -> String { model.lowercased() }

  /// What it is loaded as.
  func kind(ofPreload model: String) -> DispatchRequest.Kind {
    DispatchRequest.Kind(model: Self.key(ofPreload: model), options: limits.preloadOptions[model] ?? RunnerOptions())
  }

  mutating func preloaded(_ id: InstanceID, _ model: String, at now: Instant) {
    let key = Self.key(ofPreload: model)
    let options = kind(ofPreload: model).options
    var preload = instances[id]?.preloads[key] ?? DispatchedInstance.Preload()
    preload.loadedAt = now
    preload.wasSeen = false
    preload.isMissing = false
    instances[id]?.preloads[key] = preload
    if instances[id]?.held[key] == nil {
      instances[id]?.held[key] = HeldModel(options: options, knownAt: now)
    }
  }

  /// A load on an instance that is in use has ended.
  mutating func loadedAgain(
    _ id: InstanceID, model: String, failure: String?, at now: Instant
  ) -> [DispatchAction] {
    guard let failure else {
      preloaded(id, model, at: now)
      return askLoaded(id, at: now) + assignFreeSlots(at: now)
    }
    let key = Self.key(ofPreload: model)
    if let pause = instances[id]?.preloads[key]?.pause { instances[id]?.preloads[key]?.due = now + pause }
    // One that is being stopped fails everything.
    let isInUse = instances[id]?.isInRotation == true
    return (isInUse ? [.report(.preloadFailed(id, model: model, message: failure))] : []) + askLoaded(id, at: now)
      + assignFreeSlots(at: now)
  }

  /// Looks for the models under `preload` in a list.
  private func look(
    at models: [LoadedModel], for instance: inout DispatchedInstance, asked: Instant, _ now: Instant
  ) -> [DispatchAction] {
    let id = instance.wanted.id
    var reports: [DispatchAction] = []
    for name in limits.preload where name != instance.loading {
      let key = Self.key(ofPreload: name)
      // What was configured since is for instances to come.
      guard var preload = instance.preloads[key], let loadedAt = preload.loadedAt, loadedAt <= asked,
        instance.serves(key)
      else { continue }
      if let model = models.first(where: { $0.name == key }) {
        preload.isMissing = false
        let hasGPU = !instance.wanted.gpus.isEmpty
        if !preload.wasSeen, hasGPU, model.sizeOnGPU < model.size {
          reports.append(.report(.preloadPartlyOnGPU(id, model)))
        }
        preload.wasSeen = true
      } else if !preload.isMissing {
        preload.isMissing = true
        if now - loadedAt >= limits.longestPreloadPause { preload.pause = .zero }
        preload.due = loadedAt + preload.pause
        reports.append(.report(.preloadEvicted(id, model: name)))
      }
      instance.preloads[key] = preload
    }
    return reports
  }

  /// Loads again what is missing, where nothing is being served and nothing waits that could be.
  mutating func preloadsDue(at now: Instant) -> [DispatchAction] {
    guard !limits.preload.isEmpty, drainDeadline == nil else { return [] }
    var actions: [DispatchAction] = []
    for (id, instance) in instances where instance.isInRotation && instance.leases.isEmpty && instance.loading == nil {
      let next = limits.preload.first { name in
        guard let preload = instance.preloads[Self.key(ofPreload: name)] else { return false }
        return preload.isMissing && preload.due <= now && instance.serves(Self.key(ofPreload: name))
      }
      guard let next else { continue }
      let key = Self.key(ofPreload: next)
      let pause = instance.preloads[key]?.pause ?? .zero
      instances[id]?.preloads[key]?.pause = max(limits.firstPreloadPause, min(pause * 2, limits.longestPreloadPause))
      instances[id]?.loading = next
      actions.append(.load(id, instance.wanted.invocation, model: next))
    }
    return actions
  }
}
