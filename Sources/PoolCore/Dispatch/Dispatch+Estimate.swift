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

  private mutating func estimate(for id: RequestID, _ outlook: Outlook) -> WaitingEstimate? {
    order.ahead(of: id, among: outlook.rivals).map { WaitingEstimate(ahead: $0, outlook.capacity, serviceTimes) }
  }

  /// nil where the request does not wait for a slot.
  package mutating func estimate(for id: RequestID, at now: Instant) -> WaitingEstimate? {
    guard let request = requests[id]?.request, request.need == .slot else { return nil }
    return estimate(for: id, outlook(for: request.model, at: now))
  }

  /// Those of many at once; of those that do not wait for a slot, none.
  package mutating func estimates(
    for ids: some Sequence<RequestID>, at now: Instant
  ) -> [(id: RequestID, estimate: WaitingEstimate)] {
    var outlooks: [String?: Outlook] = [:]
    return ids.compactMap { id in
      guard let request = requests[id]?.request, request.need == .slot, order.isWaiting(id) else { return nil }
      let outlook = outlooks[request.model] ?? outlook(for: request.model, at: now)
      outlooks[request.model] = outlook
      return estimate(for: id, outlook).map { (id, $0) }
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
