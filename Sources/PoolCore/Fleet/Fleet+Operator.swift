import OrderedCollections

/// An operator's order to an instance that was not carried out yet.
package struct OperatorOrder: Hashable, Sendable {
  package enum Kind: String, Hashable, Sendable, Codable {
    case drain, restart
  }

  package var kind: Kind
  /// The life that is to end; nil where there is none at present: a start is under way, or what is to be restarted
  /// has ended already.
  package var invocation: InvocationID?
  /// When it is stopped although it still serves; nil for never.
  package var deadline: Instant?

  package init(_ kind: Kind, _ invocation: InvocationID?, deadline: Instant?) {
    self.kind = kind
    self.invocation = invocation
    self.deadline = deadline
  }
}

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
    placements[id]?.isRestarting = false
    let drain = RunningInstance.Drain(reason: .operatorDrain, deadline: deadline)
    if case .launching = record.life { placements[id]?.drainOnceStarted = drain }
    return [.report(.cordoned(gpu: key, reason: DrainReason.operatorDrain.rawValue))] + begin(drain, of: id)
      + reconcile(at: now)
  }

  /// Lets the instance finish, stops it, and starts it again. A start that is under way is as good as that.
  package mutating func restart(_ id: InstanceID, deadline: Instant?, at now: Instant) -> [FleetAction]? {
    guard placements[id] != nil else { return nil }
    placements[id]?.restarts.reset()
    placements[id]?.isRestarting = true
    placements[id]?.drainOnceStarted = nil
    return begin(RunningInstance.Drain(reason: .operatorRestart, deadline: deadline), of: id) + reconcile(at: now)
  }

  /// What of it is still to be done; the next supervisor begins with it.
  package var operatorOrders: [InstanceID: OperatorOrder] {
    var orders: [InstanceID: OperatorOrder] = [:]
    for (id, record) in placements { orders[id] = record.operatorOrder }
    return orders
  }

  mutating func takeUp(_ order: OperatorOrder, of id: InstanceID) -> [FleetAction] {
    guard let record = placements[id] else { return [] }
    switch (order.kind, record.running) {
    case (.restart, nil): placements[id]?.isRestarting = true
    case (.drain, let instance?) where order.invocation ?? instance.unit.invocation == instance.unit.invocation:
      return begin(RunningInstance.Drain(reason: .operatorDrain, deadline: order.deadline), of: id)
    case (.restart, let instance?) where order.invocation == instance.unit.invocation:
      placements[id]?.isRestarting = true
      return begin(RunningInstance.Drain(reason: .operatorRestart, deadline: order.deadline), of: id)
    default: break
    }
    return []
  }

  mutating func drainWhatHasStarted(_ id: InstanceID) -> [FleetAction] {
    guard let drain = placements[id]?.drainOnceStarted else { return [] }
    placements[id]?.drainOnceStarted = nil
    return begin(drain, of: id)
  }

  /// Other bounds than the configured ones, until `until`; nil for both takes the override back.
  package mutating func setScale(
    minimum: Int?, maximum: Int?, until: Instant?, at now: Instant
  ) -> [FleetAction] {
    scaler.override =
      minimum == nil && maximum == nil ? nil : Scaler.Override(minimum: minimum, maximum: maximum, until: until)
    return [.report(.scaleSet(minimum: minimum, maximum: maximum))] + reconcile(at: now)
  }

  mutating func begin(_ drain: RunningInstance.Drain, of id: InstanceID) -> [FleetAction] {
    guard var instance = placements[id]?.running else { return [] }
    instance.drain = drain
    placements[id]?.running = instance
    return [.report(.draining(id, drain.reason))]
  }

  /// A GPU's UUID, or the name of a placement, which stands for its first GPU.
  private func cordonKey(_ name: String) -> String? {
    if let record = placements[InstanceID(name)] { return record.placement.gpus.first ?? name }
    return cordons[name] != nil || placements.values.contains { $0.placement.gpus.contains(name) } ? name : nil
  }
}

extension Fleet.Record {
  fileprivate var operatorOrder: OperatorOrder? {
    switch life {
    case .absent: isRestarting ? OperatorOrder(.restart, nil, deadline: nil) : nil
    case .launching:
      drainOnceStarted.map { OperatorOrder(.drain, nil, deadline: $0.deadline) }
        ?? (isRestarting ? OperatorOrder(.restart, nil, deadline: nil) : nil)
    case .running(let instance), .stopping(let instance, _):
      switch instance.drain?.reason {
      case .operatorDrain: OperatorOrder(.drain, instance.unit.invocation, deadline: instance.drain?.deadline)
      case .operatorRestart: OperatorOrder(.restart, instance.unit.invocation, deadline: instance.drain?.deadline)
      case .specificationChanged, .placementRemoved, nil:
        running == nil && isRestarting ? OperatorOrder(.restart, instance.unit.invocation, deadline: nil) : nil
      }
    }
  }
}
