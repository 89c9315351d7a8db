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

  private func estimate(at key: ServiceOrder.Key, _ outlook: Outlook) -> WaitingEstimate {
    WaitingEstimate(ahead: order.ahead(of: key, among: outlook.rivals), outlook.capacity, serviceTimes)
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
      estimates[id] = estimate(at: key, outlook)
    }
    return estimates
  }

  /// Those of all that wait for a slot; of a model's requests in the order of service. O(log n) for each.
  package mutating func estimates(at now: Instant) -> [(id: RequestID, estimate: WaitingEstimate)] {
    order.settle()
    return order.waitingModels.flatMap { model in
      let outlook = outlook(for: model, at: now)
      return order.keys(ofModel: model).map { ($0.id, estimate(at: $0, outlook)) }
    }
  }

  /// For one of this user's that would come now, of any model.
  package mutating func estimateForNext(of share: DispatchRequest.Share, at now: Instant) -> WaitingEstimate {
    order.settle(at: now)
    let instances = instances.values.filter { $0.retiredBy == nil && [.core, .surplus].contains($0.wanted.role) }
    let capacity = capacity(of: instances, at: now)
    // A free slot takes it at once.
    let isFree = queue.isEmpty && instances.contains { $0.isInRotation && $0.freeSlots > 0 }
    var estimate = WaitingEstimate(ahead: order.ahead(ofNewcomer: share), capacity, serviceTimes)
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
    let slots = instances.filter(\.isInRotation).reduce(0) { $0 + $1.wanted.slots }
    let starting = instances.filter { $0.health == .starting }
    let since = starting.map(\.registeredAt).min() ?? now
    return WaitingEstimate.Capacity(
      slots: slots, pendingSlots: starting.isEmpty ? usualSlots : starting.reduce(0) { $0 + $1.wanted.slots },
      startUp: max(.zero, coldStarts.typical(assumed: limits.coldStart) - (now - since)),
      isStartUpAssumed: coldStarts.isEmpty)
  }
}
