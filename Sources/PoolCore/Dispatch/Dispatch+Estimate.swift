import OrderedCollections

/// How long those that wait still will.
extension Dispatch {
  /// What of the pool there is for the requests for a model.
  private struct Outlook {
    /// The models for whose requests it is as well; nil for any.
    let rivals: Set<String?>?
    let capacity: WaitingEstimate.Capacity
  }

  private func outlook(for model: String?, at now: Instant) -> Outlook {
    let instances = instances.values.filter { instance in
      instance.retiredBy == nil && [.core, .surplus].contains(instance.wanted.role) && instance.serves(model)
    }
    return Outlook(rivals: rivals(for: instances, model), capacity: capacity(of: instances, at: now))
  }

  private func estimate(
    at key: ServiceOrder.Key, _ outlook: Outlook, _ model: String?
  ) -> WaitingEstimate {
    let priority = requests[key.id]?.request.share.priority ?? key.level
    return WaitingEstimate(
      ahead: order.ahead(of: key, among: outlook.rivals), outlook.capacity, serviceTimes,
      calibrations[model, priority: priority])
  }

  /// nil where the request does not wait for a slot.
  package mutating func estimate(for id: RequestID, at now: Instant) -> WaitingEstimate? {
    estimates(for: [id], at: now)[id]
  }

  /// Those of these that wait for a slot. O(log n) for each.
  package mutating func estimates(for ids: [RequestID], at now: Instant) -> [RequestID: WaitingEstimate] {
    order.settle(at: now)
    var outlooks: [String?: Outlook] = [:]
    var estimates: [RequestID: WaitingEstimate] = [:]
    for id in ids {
      guard let key = order.key(of: id), let request = requests[id]?.request else { continue }
      let outlook = outlooks[request.model] ?? outlook(for: request.model, at: now)
      outlooks[request.model] = outlook
      estimates[id] = estimate(at: key, outlook, request.model)
    }
    return estimates
  }

  /// Those of all that wait for a slot; of a model's requests in the order of service. O(log n) for each.
  package mutating func estimates(at now: Instant) -> [(id: RequestID, estimate: WaitingEstimate)] {
    order.settle()
    return order.waitingModels.flatMap { model in
      let outlook = outlook(for: model, at: now)
      return order.keys(ofModel: model).map { ($0.id, estimate(at: $0, outlook, model)) }
    }
  }

  /// For one of this user's that would come now, of any model.
  package mutating func estimateForNext(of share: DispatchRequest.Share, at now: Instant) -> WaitingEstimate {
    order.settle(at: now)
    let instances = instances.values.filter { $0.retiredBy == nil && [.core, .surplus].contains($0.wanted.role) }
    let capacity = capacity(of: instances, at: now)
    // A free slot takes it at once.
    let isFree = queue.isEmpty && instances.contains { $0.isInRotation && $0.freeSlots > 0 }
    var estimate = WaitingEstimate(
      ahead: order.ahead(ofNewcomer: share), capacity, serviceTimes, calibrations[nil, priority: share.priority])
    if isFree { (estimate.position, estimate.wait, estimate.wait90) = (1, .zero, .zero) }
    return estimate
  }

  /// The models for whose requests these instances are as well; nil for any.
  private func rivals(for instances: [DispatchedInstance], _ model: String?) -> Set<String?>? {
    // Where only others are reserved, one will be started for this model.
    if instances.isEmpty { return self.instances.isEmpty ? nil : [model] }
    if instances.contains(where: \.wanted.models.isEmpty) { return nil }
    return Set(instances.flatMap(\.wanted.models) as [String?] + [nil])
  }

  private func capacity(of instances: [DispatchedInstance], at now: Instant) -> WaitingEstimate.Capacity {
    let slots = instances.reduce(0) { $0 + ($1.isInRotation ? $1.wanted.slots : 0) }
    let (median, typical) = (
      coldStarts.median(assumed: limits.coldStart), coldStarts.typical(assumed: limits.coldStart)
    )
    func pending(_ slots: Int, since: Instant) -> WaitingEstimate.Capacity.Pending {
      let elapsed = now - since
      // Of one that takes longer than nine in ten nobody knows how long it will: not at once, at least.
      let late = max(typical - elapsed, typical / 10)
      return WaitingEstimate.Capacity.Pending(
        slots: slots, startUp: max(median - elapsed, late / 2), startUp90: late)
    }
    var coming = instances.filter { $0.health == .starting }
      .map { pending($0.wanted.slots, since: $0.registeredAt) }
    // Where there is none yet, one will be started.
    if coming.isEmpty, slots == 0 { coming = [pending(usualSlots, since: now)] }
    coming.sort { $0.startUp < $1.startUp }
    return WaitingEstimate.Capacity(slots: slots, pending: coming, isStartUpAssumed: coldStarts.isEmpty)
  }
}
