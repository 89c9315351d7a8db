import OrderedCollections

/// How long those that wait still will.
extension Dispatch {
  /// nil where the request does not wait for a slot.
  package mutating func estimate(for id: RequestID, at now: Instant) -> WaitingEstimate? {
    guard let request = requests[id]?.request, request.need == .slot else { return nil }
    let instances = instances.values.filter { instance in
      instance.retiredBy == nil && [.core, .surplus].contains(instance.wanted.role) && instance.serves(request.model)
    }
    return order.ahead(of: id, among: rivals(for: instances, request.model)).map {
      WaitingEstimate(ahead: $0, capacity(of: instances, at: now), serviceTimes)
    }
  }

  /// For one that would come now, of any model and of a user who waits for nothing; with fairness at most.
  package func estimateForNext(of priority: Int, at now: Instant) -> WaitingEstimate {
    let instances = instances.values.filter { $0.retiredBy == nil && [.core, .surplus].contains($0.wanted.role) }
    let capacity = capacity(of: instances, at: now)
    // A free slot takes it at once.
    let isFree = queue.isEmpty && instances.contains { $0.isInRotation && $0.freeSlots > 0 }
    var estimate = WaitingEstimate(ahead: order.ahead(ofNewcomerAt: priority), capacity, serviceTimes)
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
