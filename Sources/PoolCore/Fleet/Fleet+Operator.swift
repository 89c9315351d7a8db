import OrderedCollections

/// What an operator wants of the instance in one placement, until that is done or taken back.
///
/// What follows from it is worked out anew each time (``Fleet/drain(of:)``), so that it holds also for what is adopted
/// or comes late.
package enum OperatorOrder: Hashable, Sendable {
  /// Whatever runs there finishes what it has, and stops. Stands as long as the cordon that came with it.
  case drain(deadline: Instant?)
  /// This life finishes what it has, and stops; nil where none need end: a start is under way, or was wanted anyway.
  /// Then another one is started, whatever the target is. Stands until that one is ready or has failed.
  case restart(of: InvocationID?, deadline: Instant?)
}

/// Why an operator's order is not taken.
package enum OrderRefusal: Error, Hashable, Sendable {
  case nothingOfThatName
  /// What the order stops could not be started again, for this reason.
  case cannotStart(String)
}

/// What operators may order.
extension Fleet {
  /// What operators had ordered of an earlier supervisor, before anything is decided. Cordons of GPUs that are not
  /// there hold when they are.
  package mutating func restore(cordons: [String: String], orders: [InstanceID: OperatorOrder]) {
    self.cordons = cordons
    self.orders = orders
  }

  /// No start on this GPU (or in this placement) until `uncordon`; what runs there goes on.
  package mutating func cordon(
    _ name: String, reason: String, at now: Instant
  ) throws(OrderRefusal) -> [FleetAction] {
    let key = try cordonKey(name)
    cordons[key] = reason
    return [.report(.cordoned(gpu: key, reason: reason))] + reconcile(at: now)
  }

  /// Ends a cordon and the drains that came with it, and wipes the failures that hold the placement back.
  package mutating func uncordon(_ name: String, at now: Instant) throws(OrderRefusal) -> [FleetAction] {
    let key = try cordonKey(name)
    cordons[key] = nil
    for (id, record) in placements {
      if record.placement.gpus.contains(key) || id.name == key { placements[id]?.restarts.reset() }
      if case .drain = orders[id], record.placement.cordonKey == key { orders[id] = nil }
    }
    return [.report(.uncordoned(gpu: key))] + reconcile(at: now)
  }

  /// Cordons the instance's placement, lets what runs there finish, and stops it.
  ///
  /// - Parameter deadline: when it is stopped although it still serves; nil for never.
  package mutating func drain(
    _ id: InstanceID, deadline: Instant?, at now: Instant
  ) throws(OrderRefusal) -> [FleetAction] {
    guard let record = placements[id] else { throw .nothingOfThatName }
    let key = record.placement.cordonKey
    cordons[key] = DrainReason.operatorDrain.rawValue
    orders[id] = .drain(deadline: deadline)
    return [.report(.cordoned(gpu: key, reason: DrainReason.operatorDrain.rawValue))] + reportDrain(of: id)
      + reconcile(at: now)
  }

  /// Lets the instance finish, stops it, and starts it again. A start that is under way is as good as that.
  package mutating func restart(
    _ id: InstanceID, deadline: Instant?, at now: Instant
  ) throws(OrderRefusal) -> [FleetAction] {
    guard let record = placements[id] else { throw .nothingOfThatName }
    guard record.isConfigured else {
      throw .cannotStart(knowsAllPlacements ? "it is no longer configured" : "its GPU can't be asked at present")
    }
    if let reason = cordon(on: record.placement) { throw .cannotStart("it is cordoned (\(reason))") }
    placements[id]?.restarts.reset()
    orders[id] = .restart(of: record.life.instance?.unit.invocation, deadline: deadline)
    return reportDrain(of: id) + reconcile(at: now)
  }

  /// Other bounds than the configured ones, until `until`; nil for both takes the override back.
  package mutating func setScale(
    minimum: Int?, maximum: Int?, until: Instant?, at now: Instant
  ) -> [FleetAction] {
    scaler.override =
      minimum == nil && maximum == nil ? nil : Scaler.Override(minimum: minimum, maximum: maximum, until: until)
    return [.report(.scaleSet(minimum: minimum, maximum: maximum))] + reconcile(at: now)
  }

  // MARK: What follows

  package struct Drain: Hashable, Sendable {
    package var reason: DrainReason
    /// When it is stopped although it still serves; nil for never.
    package var deadline: Instant?
  }

  /// Why what runs there finishes what it has and gets nothing new; nil where it goes on.
  package func drain(of id: InstanceID) -> Drain? {
    guard let record = placements[id], let instance = record.running else { return nil }
    switch orders[id] {
    case .drain(let deadline): return Drain(reason: .operatorDrain, deadline: deadline)
    case .restart(instance.unit.invocation, let deadline) where isPlaceable(record):
      return Drain(reason: .operatorRestart, deadline: deadline)
    case .restart, nil: return instance.outdated.map { Drain(reason: $0) }
    }
  }

  /// Whether an operator's restart has come to where another life is to start, or is not ready yet.
  func awaitsRestart(_ id: InstanceID) -> Bool {
    guard case .restart(let old, _) = orders[id] else { return false }
    return old == nil || placements[id]?.life.instance?.unit.invocation != old
  }

  /// A drain stands only beside a cordon, and a restart only without one, since it must cost none that still runs. Where a
  /// placement may be missing because its GPU can't be asked, a restart waits.
  mutating func dropVoidOrders() {
    for (id, order) in orders {
      guard let record = placements[id] else {
        if knowsAllPlacements { orders[id] = nil }
        continue
      }
      let stands =
        switch order {
        case .drain: cordon(on: record.placement) != nil || record.life.placement.flatMap(cordon) != nil
        case .restart: cordon(on: record.placement) == nil && (record.isConfigured || !knowsAllPlacements)
        }
      if !stands { orders[id] = nil }
    }
  }

  /// Why nothing may be started in a placement; nil without a cordon.
  package func cordon(on placement: Placement) -> String? {
    cordons[placement.id.name] ?? placement.gpus.lazy.compactMap { cordons[$0] }.first
  }

  func reportDrain(of id: InstanceID) -> [FleetAction] {
    drain(of: id).map { [.report(.draining(id, $0.reason))] } ?? []
  }

  /// A GPU's UUID, or the name of a placement, which stands for its first GPU.
  private func cordonKey(_ name: String) throws(OrderRefusal) -> String {
    if let record = placements[InstanceID(name)] { return record.placement.cordonKey }
    guard cordons[name] != nil || placements.values.contains(where: { $0.placement.gpus.contains(name) }) else {
      throw .nothingOfThatName
    }
    return name
  }
}

extension Placement {
  /// By what an order that names the placement cordons it.
  fileprivate var cordonKey: String { gpus.first ?? id.name }
}
