import OrderedCollections

/// What operators may order. Each answers nil where there is nothing of that name.
extension Fleet {
  /// Cordons of an earlier supervisor, before anything is decided. Those of GPUs that are not there hold when they
  /// are.
  package mutating func restore(cordons: [String: String]) { self.cordons = cordons }

  /// No start on this GPU (or in this placement) until `uncordon`; what runs there goes on.
  package mutating func cordon(_ name: String, reason: String, at now: Instant) -> [FleetAction]? {
    guard let key = cordonKey(name) else { return nil }
    cordons[key] = reason
    return [.report(.cordoned(gpu: key, reason: reason))] + reconcile(at: now)
  }

  /// Ends a cordon, and wipes the failures that hold the placement back.
  package mutating func uncordon(_ name: String, at now: Instant) -> [FleetAction]? {
    guard let key = cordonKey(name) else { return nil }
    cordons[key] = nil
    for (id, record) in placements where record.placement.gpus.contains(key) || id.name == key {
      placements[id]?.restarts.reset()
    }
    return [.report(.uncordoned(gpu: key))] + reconcile(at: now)
  }

  /// Cordons the instance's placement, lets it finish, and stops it.
  ///
  /// - Parameter deadline: when it is stopped although it still serves; nil for never.
  package mutating func drain(_ id: InstanceID, deadline: Instant?, at now: Instant) -> [FleetAction]? {
    guard let record = placements[id] else { return nil }
    let key = record.placement.gpus.first ?? id.name
    cordons[key] = DrainReason.operatorDrain.rawValue
    return [.report(.cordoned(gpu: key, reason: DrainReason.operatorDrain.rawValue))]
      + goAway(id, .operatorDrain, deadline: deadline, at: now)
  }

  /// Lets the instance finish, stops it, and starts it again.
  package mutating func restart(_ id: InstanceID, deadline: Instant?, at now: Instant) -> [FleetAction]? {
    guard placements[id] != nil else { return nil }
    placements[id]?.restarts.reset()
    placements[id]?.isRestarting = true
    return goAway(id, .operatorRestart, deadline: deadline, at: now)
  }

  /// Other bounds than the configured ones, until `until`; nil for both takes the override back.
  package mutating func setScale(
    minimum: Int?, maximum: Int?, until: Instant?, at now: Instant
  ) -> [FleetAction] {
    scaler.override =
      minimum == nil && maximum == nil ? nil : Scaler.Override(minimum: minimum, maximum: maximum, until: until)
    return [.report(.scaleSet(minimum: minimum, maximum: maximum))] + reconcile(at: now)
  }

  private mutating func goAway(
    _ id: InstanceID, _ reason: DrainReason, deadline: Instant?, at now: Instant
  ) -> [FleetAction] {
    guard var instance = placements[id]?.running else { return reconcile(at: now) }
    instance.drain = RunningInstance.Drain(reason: reason, deadline: deadline)
    placements[id]?.running = instance
    return [.report(.draining(id, reason))] + reconcile(at: now)
  }

  /// A GPU's UUID, or the name of a placement, which stands for its first GPU.
  private func cordonKey(_ name: String) -> String? {
    if let record = placements[InstanceID(name)] { return record.placement.gpus.first ?? name }
    return cordons[name] != nil || placements.values.contains { $0.placement.gpus.contains(name) } ? name : nil
  }
}
