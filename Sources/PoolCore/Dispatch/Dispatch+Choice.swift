import DequeModule
import OrderedCollections

/// Who serves what next.
///
/// One model's load never holds up the requests for another: Ollama's own loop would, so an instance that is loading
/// takes nothing else, and what it can't take waits in the queue, where any other instance finds it.
extension Dispatch {
  /// What an instance with a free slot takes.
  package enum Intake: Hashable, Sendable {
    case anything
    /// It is loading: only what waits for the same load.
    case only(DispatchRequest.Kind)
    /// It is loading several things.
    case nothing

    package func takes(_ kind: DispatchRequest.Kind) -> Bool {
      switch self {
      case .anything: true
      case .only(let loading): loading == kind
      case .nothing: false
      }
    }
  }

  /// By its own loads and by the requests that it has not begun to answer, whose model it isn't known to hold.
  package func intake(of instance: DispatchedInstance) -> Intake {
    var loading: DispatchRequest.Kind?
    if let model = instance.loading {
      loading = kind(ofPreload: model)
    }
    for id in instance.unbegun {
      guard let request = unbegun(id), let model = request.model,
        instance.held[model]?.serves(request.options) != true
      else { continue }
      if let loading, loading != request.kind { return .nothing }
      loading = request.kind
    }
    return loading.map { .only($0) } ?? .anything
  }

  /// A request that an instance has, and has not begun to answer.
  func unbegun(_ id: RequestID) -> DispatchRequest? {
    guard let record = requests[id], case .assigned(_, _, _, nil) = record.phase else { return nil }
    return record.request
  }

  // MARK: Slots

  /// The first in the queue that some instance takes now, and the best one for it.
  mutating func nextLease(at now: Instant) -> (RequestID, InstanceID)? {
    guard !queue.isEmpty else { return nil }
    let free = instances.values.filter { $0.freeSlots > 0 }
    guard !free.isEmpty else { return nil }
    order.settle(at: now)
    var first: ServiceOrder.Key?
    for instance in free {
      guard let candidate = firstWaiting(for: instance), first.map({ candidate < $0 }) ?? true else { continue }
      first = candidate
    }
    guard let first, let record = requests[first.id] else { return nil }
    return leastBusy(for: record).map { (first.id, $0) }
  }

  /// The first in the queue that an instance with a free slot takes.
  private func firstWaiting(for instance: DispatchedInstance) -> ServiceOrder.Key? {
    // Past those that it has failed only.
    func suits(_ id: RequestID) -> Bool { isFit(instance, for: id) }
    switch intake(of: instance) {
    case .nothing: return nil
    case .only(let kind): return instance.serves(kind.model) ? order.first(of: kind, where: suits) : nil
    case .anything where instance.wanted.models.isEmpty: return order.first(where: suits)
    case .anything:
      return (instance.wanted.models as [String?] + [nil]).compactMap { order.first(ofModel: $0, where: suits) }.min()
    }
  }

  /// Whether the instance has not failed the request, or all have.
  private func isFit(_ instance: DispatchedInstance, for id: RequestID) -> Bool {
    guard let record = requests[id] else { return false }
    return !record.failedOn.contains(instance.wanted.id) || !isAnotherFit(for: record)
  }

  /// The instance that serves `record` now: the core first, then the surplus. Of these, among those within one lease of
  /// the fewest, the one that it costs the least; then the one with the fewest leases, then the one that holds the
  /// fewest models, then the oldest. An instance that failed this request is passed over while another could serve it.
  package func leastBusy(for record: Record) -> InstanceID? {
    let kind = record.request.kind
    // An instance that failed it before is passed over only where there is another.
    let failedOn = isAnotherFit(for: record) ? record.failedOn : []
    var candidates: [(id: InstanceID, load: Load, cost: Cost, held: Int)] = []
    for instance in instances.values
    where instance.freeSlots > 0 && instance.serves(kind.model) && !failedOn.contains(instance.wanted.id) {
      let intake = intake(of: instance)
      guard intake.takes(kind) else { continue }
      let load = Load(isSurplus: instance.wanted.role == .surplus, leases: instance.leases.count)
      let cost = cost(of: kind, on: instance, intake)
      candidates.append((instance.wanted.id, load, cost, cost == .eviction ? instance.held.count : 0))
    }
    guard let least = candidates.map(\.load).min() else { return nil }
    return candidates.filter { $0.load.isSurplus == least.isSurplus && $0.load.leases <= least.leases + 1 }
      .min { ($0.cost, $0.load.leases, $0.held) < ($1.cost, $1.load.leases, $1.held) }?.id
  }

  private struct Load: Comparable {
    let isSurplus: Bool
    let leases: Int

    static func < (left: Load, right: Load) -> Bool {
      left.isSurplus == right.isSurplus ? left.leases < right.leases : right.isSurplus
    }
  }

  /// What a request would cost an instance, the least first.
  private enum Cost: Comparable {
    case nothing
    /// A load on an instance that holds nothing else: where options alternate, each gets an instance.
    case load
    /// A load that ends the model's stay with other options.
    case reload
    /// A load that may end another model's stay.
    case eviction
    /// A load behind another one.
    case wait
  }

  private func cost(of kind: DispatchRequest.Kind, on instance: DispatchedInstance, _ intake: Intake) -> Cost {
    guard let model = kind.model else { return .nothing }
    if let held = instance.held[model] { return held.serves(kind.options) ? .nothing : .reload }
    guard intake == .anything else { return .wait }
    return instance.loaded != nil && instance.held.isEmpty ? .load : .eviction
  }

  /// Whether some instance in rotation, busy or not, could serve the request and has not failed it.
  private func isAnotherFit(for record: Record) -> Bool {
    guard !record.failedOn.isEmpty else { return false }
    return instances.values.contains { canServe(record, $0) && !record.failedOn.contains($0.wanted.id) }
  }

  /// Whether an instance in rotation is one for such a request, busy or not.
  func canServe(_ record: Record, _ instance: DispatchedInstance) -> Bool {
    guard instance.isInRotation else { return false }
    return switch record.request.need {
    case .slot: instance.serves(record.request.model)
    case .reference: true
    // Where the supervisor has chosen, there is no other one.
    case .storeReference: instance.wanted.writesStore != false
    case .networkReference, .remoteInference: hasNetwork(instance)
    }
  }

  /// Whether it has a way out. Where the supervisor has chosen the one that writes the model store, only that one has.
  private func hasNetwork(_ instance: DispatchedInstance) -> Bool {
    storeRefusal != nil || instance.wanted.writesStore != false
  }

  // MARK: References

  func nextReference() -> (RequestID, InstanceID)? {
    for id in [callers.first, leavers.first].compactMap({ $0 }) {
      if let record = requests[id], let place = lightest(for: record) { return (id, place) }
    }
    guard let id = writers.first, let record = requests[id] else { return nil }
    return nextWriter(for: record).map { (id, $0) }
  }

  /// The one that has the least to do of those for a request without a slot.
  private func lightest(for record: Record) -> InstanceID? {
    var lightest: (place: Int, wasTried: Bool, load: Int)?
    // In a loop: lists of instances would copy all that is known of them.
    for place in instances.values.indices where canServe(record, instances.values[place]) {
      let wasTried = record.failedOn.contains(instances.keys[place])
      let load = instances.values[place].leases.count + instances.values[place].references.count
      if let lightest, (lightest.wasTried ? 1 : 0, lightest.load) <= (wasTried ? 1 : 0, load) { continue }
      lightest = (place, wasTried, load)
    }
    return lightest.map { instances.keys[$0.place] }
  }

  /// The instance through which a request may change the model store now. Two servers at once would corrupt each
  /// other's partial files, so while one that drains still writes, the next waits.
  func nextWriter(for record: Record) -> InstanceID? {
    let writing = instances.values.filter { !writes(on: $0).isEmpty }
    guard writing.allSatisfy(\.isInRotation) else { return nil }
    if instances.values.contains(where: { $0.wanted.writesStore != nil }) {
      // The supervisor has chosen, and only that one has a way out to the network.
      return instances.values.first { instance in
        instance.wanted.writesStore == true && instance.isInRotation
          && writing.allSatisfy { $0.wanted.id == instance.wanted.id }
      }?.wanted.id
    }
    // The one that writes, even if it failed this request.
    if let present = writing.first { return present.wanted.id }
    let fit = instances.values.filter(\.isInRotation)
    return (fit.first { !record.failedOn.contains($0.wanted.id) } ?? fit.first)?.wanted.id
  }

  /// Whether an instance takes it at once, however many wait.
  func needsNoPlace(_ record: Record) -> Bool {
    switch record.request.need {
    case .slot: leastBusy(for: record) != nil
    case .reference, .networkReference, .remoteInference: instances.values.contains { canServe(record, $0) }
    case .storeReference: nextWriter(for: record) != nil
    }
  }

  // MARK: Reserved instances

  /// Whether no placement is meant for the model.
  func isUnserved(_ model: String?) -> Bool {
    guard let model, let servedModels else { return false }
    return !servedModels.contains(model)
  }

  /// What waits and can't be served any more.
  mutating func refuseUnserved(at now: Instant) -> [DispatchAction] {
    guard servedModels != nil else { return [] }
    let refused = order.waitingModels.filter(isUnserved).flatMap { order.keys(ofModel: $0).map(\.id) }.sorted()
    for id in refused { forget(id, .failed(.modelNotServed), at: now) }
    return refused.map { .end($0, .failed(.modelNotServed)) }
  }
}
