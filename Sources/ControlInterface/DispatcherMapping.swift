import OrderedCollections
package import PoolCore

/// Between the core's values and the wire's.
extension DispatcherCalls.SetInstances {
  package init(_ set: WantedSet) {
    self.init(
      instances: set.instances.map(DispatcherTypes.Instance.init), models: set.models?.sorted(),
      storeRefusal: set.storeRefusal, awaitingTurn: set.awaitingTurn.isEmpty ? nil : set.awaitingTurn.sorted())
  }
}

extension DispatcherTypes.Instance {
  package init(_ wanted: WantedInstance) {
    id = wanted.id.name
    invocation = wanted.invocation.text
    address = wanted.address
    gpus = wanted.gpus
    slots = wanted.slots
    models = wanted.models
    writesStore = wanted.writesStore
    role = DispatcherTypes.Role(wanted.role)
    reason = wanted.reason
  }
}

extension WantedInstance {
  package init(_ instance: DispatcherTypes.Instance) {
    self.init(
      id: InstanceID(instance.id), invocation: InvocationID(instance.invocation), address: instance.address,
      gpus: instance.gpus, slots: instance.slots, models: instance.models,
      writesStore: instance.writesStore, role: Role(instance.role), reason: instance.reason)
  }
}

extension DispatcherTypes.Role {
  init(_ role: WantedInstance.Role) {
    self =
      switch role {
      case .core: .core
      case .surplus: .surplus
      case .draining: .draining
      case .out: .out
      }
  }
}

extension WantedInstance.Role {
  init(_ role: DispatcherTypes.Role) {
    self =
      switch role {
      case .core: .core
      case .surplus: .surplus
      case .draining: .draining
      case .out: .out
      }
  }
}

extension DispatcherTypes.RetireAnswer {
  package init(_ answer: Dispatch.RetireAnswer) {
    self =
      switch answer {
      case .retired: .retired
      case .busy: .busy
      case .unknown: .unknown
      }
  }
}

extension Dispatch.RetireAnswer {
  package init(_ answer: DispatcherTypes.RetireAnswer) {
    self =
      switch answer {
      case .retired: .retired
      case .busy: .busy
      case .unknown: .unknown
      }
  }
}

extension DispatcherTypes.Queue {
  /// What the dispatcher pushes.
  package init(_ dispatch: Dispatch, outside: OutsideQueues, epoch: String, at now: Instant) {
    let observation = dispatch.observation(at: now)
    self.epoch = epoch
    depth = observation.depth
    oldestWaitSeconds = observation.oldestWait?.seconds
    inFlight = observation.inFlight
    peakDemand = observation.peakDemand
    arrivals = observation.arrivals
    completions = observation.completions
    models = dispatch.demand.sorted { $0.key < $1.key }.map {
      DispatcherTypes.ModelDemand(model: $0.key, waiting: $0.value.waiting, inFlight: $0.value.inFlight)
    }
    frontEnds = outside.reports.map {
      DispatcherTypes.FrontEnd(name: $0.frontEnd, depth: $0.depth, oldestWaitSeconds: $0.oldestWait?.seconds)
    }
    maxConcurrent = observation.maxConcurrent
    draining = observation.isDraining
    instances = zip(observation.instances, dispatch.instances.values).map {
      DispatcherTypes.InstanceState($0, $1.wanted)
    }
  }
}

extension DispatcherTypes.InstanceState {
  init(_ seen: InstanceObservation, _ wanted: WantedInstance) {
    id = wanted.id.name
    invocation = wanted.invocation.text
    address = wanted.address
    gpus = wanted.gpus
    slots = wanted.slots
    role = DispatcherTypes.Role(wanted.role)
    healthFinal = false
    switch seen.health {
    case .starting: health = .starting
    case .healthy: health = .healthy
    case .unhealthy(let reason, let isFinal, let since):
      health = .unhealthy
      healthReason = reason
      healthFinal = isFinal
      unhealthySeconds = since.seconds
    }
    leases = seen.leases
    references = seen.references
    writes = seen.writes
    idleSeconds = seen.idle?.seconds
    retired = seen.isRetired
    firstAnswerAfterSeconds = seen.firstAnswerAfter?.seconds
    readyAfterSeconds = seen.readyAfter?.seconds
    if !seen.loads.isEmpty {
      loads = seen.loads.map { DispatcherTypes.ModelLoad(model: $0.model, seconds: $0.duration.seconds) }
    }
    loaded = seen.loaded.map { $0.map(DispatcherTypes.LoadedModel.init) }
  }
}

extension QueueObservation {
  /// What the supervisor makes of a push. Counts are brought into a range in which they can be added up.
  package init(_ queue: DispatcherTypes.Queue) {
    func bounded(_ count: Int) -> Int { min(max(0, count), 1 << 30) }
    self.init()
    depth = bounded(queue.depth)
    oldestWait = queue.oldestWaitSeconds.map { .seconds(rounding: $0) }
    inFlight = bounded(queue.inFlight)
    peakDemand = bounded(queue.peakDemand)
    arrivals = queue.arrivals
    completions = queue.completions
    outsideDepth = queue.frontEnds.reduce(0) { $0 + min(max(0, $1.depth), OutsideQueues.deepest) }
    maxConcurrent = queue.maxConcurrent
    for model in queue.models where model.waiting > 0 { waitingByModel[model.model] = bounded(model.waiting) }
    isDraining = queue.draining
    instances = queue.instances.map(InstanceObservation.init)
  }
}

extension InstanceObservation {
  init(_ state: DispatcherTypes.InstanceState) {
    let health: Health =
      switch state.health {
      case .starting: .starting
      case .healthy: .healthy
      case .unhealthy:
        .unhealthy(
          reason: state.healthReason ?? "unhealthy", isFinal: state.healthFinal,
          since: .seconds(rounding: state.unhealthySeconds ?? 0))
      }
    self.init(
      id: InstanceID(state.id), invocation: InvocationID(state.invocation), health: health, leases: state.leases,
      references: state.references, writes: state.writes ?? state.references,
      idle: state.idleSeconds.map { .seconds(rounding: $0) }, isRetired: state.retired,
      firstAnswerAfter: state.firstAnswerAfterSeconds.map { .seconds(rounding: $0) },
      readyAfter: state.readyAfterSeconds.map { .seconds(rounding: $0) },
      loads: (state.loads ?? []).map { TimedLoad(model: $0.model, duration: .seconds(rounding: $0.seconds)) },
      loaded: state.loaded.map { $0.map(LoadedModel.init) })
  }
}

extension DispatcherTypes.LoadedModel {
  init(_ model: LoadedModel) {
    name = model.name
    sizeBytes = model.size
    sizeOnGPUBytes = model.sizeOnGPU
    contextLength = model.contextLength
  }
}

extension LoadedModel {
  init(_ model: DispatcherTypes.LoadedModel) {
    self.init(
      name: model.name, size: max(0, model.sizeBytes), sizeOnGPU: max(0, model.sizeOnGPUBytes),
      contextLength: model.contextLength)
  }
}
