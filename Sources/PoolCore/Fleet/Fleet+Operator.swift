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

/// An operator's word that nothing is to be started on a GPU.
package struct Cordon: Hashable, Sendable {
  package var reason: String
  /// When it ends by itself; nil for never.
  package var until: Instant?

  package init(reason: String, until: Instant? = nil) {
    self.reason = reason
    self.until = until
  }
}

/// Why an operator's order is not taken.
package enum OrderRefusal: Error, Hashable, Sendable {
  case nothingOfThatName
  /// What the order stops could not be started again, for this reason.
  case cannotStart(String)
}

/// What operators may order.
extension Fleet {
  /// What an earlier supervisor knew and had been ordered, before anything is decided. What is said of GPUs that are
  /// not there holds when they are.
  ///
  /// - Parameter faults: its ``faultsToKeep``; none where the machine was booted since.
  package mutating func restore(
    cordons: [String: Cordon], orders: [InstanceID: OperatorOrder], faults: [String: GPUFault] = [:]
  ) {
    self.cordons = cordons
    self.orders = orders
    for (uuid, fault) in faults.sorted(by: { $0.key < $1.key }) { gpus[uuid, default: GPUState()].fault = fault }
  }

  /// No start on this GPU (or in this placement) until `uncordon`; what runs there goes on.
  ///
  /// - Parameter until: when it ends by itself; nil for never.
  package mutating func cordon(
    _ name: String, reason: String, until: Instant? = nil, at now: Instant
  ) throws(OrderRefusal) -> [FleetAction] {
    let key = try cordonKey(name)
    cordons[key] = Cordon(reason: reason, until: until)
    return [.report(.cordoned(gpu: key, reason: reason, until: until))] + reconcile(at: now)
  }

  /// Ends a cordon and the drains that came with it, and wipes all that holds a start back and can be forgotten:
  /// failures, faults of the GPU (of each, where a placement is named), and how much memory the last life took.
  package mutating func uncordon(_ name: String, at now: Instant) throws(OrderRefusal) -> [FleetAction] {
    let key = try cordonKey(name)
    cordons[key] = nil
    for uuid in [key] + (placements[InstanceID(name)]?.placement.gpus ?? []) { gpus[uuid]?.reset() }
    for (id, record) in placements {
      if record.placement.gpus.contains(key) || id.name == key {
        placements[id]?.history.restarts.reset()
        placements[id]?.history.lastLoad = 0
      }
      if case .drain = orders[id], record.placement.cordonKey == key { orders[id] = nil }
    }
    return [.report(.uncordoned(gpu: key))] + reconcile(at: now)
  }

  /// Cordons the instance's placement unless that is cordoned already, lets what runs there finish, and stops it.
  ///
  /// - Parameter deadline: when it is stopped although it still serves; nil for never.
  package mutating func drain(
    _ id: InstanceID, deadline: Instant?, at now: Instant
  ) throws(OrderRefusal) -> [FleetAction] {
    guard let record = placements[id] else { throw .nothingOfThatName }
    let key = record.placement.cordonKey
    var actions: [FleetAction] = []
    if cordons[key] == nil {
      let reason = DrainReason.operatorDrain.description
      cordons[key] = Cordon(reason: reason)
      actions.append(.report(.cordoned(gpu: key, reason: reason, until: nil)))
    }
    orders[id] = .drain(deadline: deadline)
    return actions + reportDrain(of: id) + reconcile(at: now)
  }

  /// Lets the instance finish, stops it, and starts it again. A start that is under way is as good as that.
  package mutating func restart(
    _ id: InstanceID, deadline: Instant?, at now: Instant
  ) throws(OrderRefusal) -> [FleetAction] {
    guard let record = placements[id] else { throw .nothingOfThatName }
    guard record.isConfigured else {
      throw .cannotStart(knowsAllPlacements ? "it is no longer configured" : "its GPU can't be asked at present")
    }
    if let cordon = cordon(on: record.placement) { throw .cannotStart("it is cordoned (\(cordon.reason))") }
    placements[id]?.history.restarts.reset()
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
    guard let instance = placements[id]?.running else { return nil }
    return drain(of: id, instance)
  }

  func drain(of id: InstanceID, _ instance: Shared<RunningInstance>) -> Drain? {
    let ordered = orders.isEmpty ? nil : orderedDrain(of: id, instance)
    if let out = instance.departure.takenOut {
      let deadlines = [out.deadline, ordered?.deadline].compactMap(\.self)
      return Drain(reason: out.reason, deadline: deadlines.min())
    }
    return ordered ?? yields(instance).map { Drain(reason: .yields(to: $0)) }
      ?? instance.departure.outdated.map { Drain(reason: $0) }
  }

  private func orderedDrain(of id: InstanceID, _ instance: Shared<RunningInstance>) -> Drain? {
    switch orders[id] {
    case .drain(let deadline): Drain(reason: .operatorDrain, deadline: deadline)
    case .restart(instance.unit.invocation, let deadline) where placements[id].map(isPlaceable) == true:
      Drain(reason: .operatorRestart, deadline: deadline)
    case .restart, nil: nil
    }
  }

  /// Whether an operator's restart has come to where another life is to start, or is not ready yet.
  func awaitsRestart(_ id: InstanceID) -> Bool {
    guard case .restart(let old, _) = orders[id] else { return false }
    return old == nil || placements[id]?.life.instance?.unit.invocation != old
  }

  /// A drain stands only beside a cordon, and a restart only without one, since it must cost none that still runs.
  /// Where a placement may be missing because its GPU can't be asked, a restart waits.
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

  /// Cordons that have come to their end.
  mutating func endCordons(at now: Instant) -> [FleetAction] {
    let ended = cordons.filter { $0.value.until.map { $0 <= now } ?? false }.keys.sorted()
    for key in ended { cordons[key] = nil }
    return ended.map { .report(.cordonEnded(gpu: $0)) }
  }

  /// What forbids a start in a placement.
  package func cordon(on placement: Placement) -> Cordon? {
    if cordons.isEmpty { return nil }
    return cordons[placement.id.name] ?? placement.gpus.lazy.compactMap { cordons[$0] }.first
  }

  func reportDrain(of id: InstanceID) -> [FleetAction] {
    drain(of: id).map { [.report(.draining(id, $0.reason))] } ?? []
  }

  /// A GPU's UUID, or the name of a placement, which stands for its first GPU.
  private func cordonKey(_ name: String) throws(OrderRefusal) -> String {
    if let record = placements[InstanceID(name)] { return record.placement.cordonKey }
    guard
      cordons[name] != nil || gpus[name] != nil
        || placements.values.contains(where: { $0.placement.gpus.contains(name) })
    else {
      throw .nothingOfThatName
    }
    return name
  }
}

extension Placement {
  /// By what an order that names the placement cordons it.
  fileprivate var cordonKey: String { gpus.first ?? id.name }
}
