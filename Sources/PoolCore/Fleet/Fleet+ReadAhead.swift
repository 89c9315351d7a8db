import OrderedCollections

/// Files of models that are read into memory before an instance loads them.
extension Fleet {
  /// What the reader says: a model's outcome, or nil as a sign of life.
  package mutating func readerTold(_ outcome: ReadAhead.Outcome?, at now: Instant) -> [FleetAction] {
    // Of models that are not there clients may name any number.
    let isThere = outcome.map { $0.size > 0 || limits.preload.contains($0.model) } ?? false
    readAhead.heard(outcome, isKept: isThere, at: now)
    guard let outcome else { return [] }
    let isNews = isThere && (outcome.read > 0 || outcome.problem != nil)
    return (isNews ? [.report(.modelRead(outcome))] : []) + reconcile(at: now)
  }

  /// The reader has ended, or none could be sent.
  /// - Parameter problem: nil where it has done what it was sent for.
  package mutating func readerEnded(_ problem: String?, at now: Instant) -> [FleetAction] {
    readAhead.ended()
    return (problem.map { [.report(.readAheadFailed(reason: $0))] } ?? []) + reconcile(at: now)
  }

  /// Sends a reader for what the instances that start now will load, and for what the next one would: while there is
  /// work, it may be needed at any moment.
  /// - Parameter actions: what has just been decided.
  mutating func readModels(after actions: [FleetAction], at now: Instant) -> [FleetAction] {
    guard limits.readsAhead else { return [] }
    let isStarting = actions.contains { if case .start = $0 { true } else { false } }
    guard readAhead.isTimeToLook(isStarting: isStarting, at: now) else { return [] }
    let coming = placements.values.filter { record in
      switch record.life {
      case .launching: true
      case .running(let instance): instance.isColdStart && instance.isStarting
      case .absent, .stopping: false
      }
    }.map(\.placement)
    let next = (observation?.demand ?? 0) > 0 ? startable.first?.placement : nil
    let places = coming + [next].compactMap(\.self)
    guard !places.isEmpty else { return [] }
    let due = readAhead.due(models(for: places), at: now)
    return due.isEmpty ? [] : [.readAhead(due)]
  }

  /// Those under `preload`; then those that requests wait for, those of most of them first; then what others hold.
  private func models(for places: [Placement]) -> [String] {
    let waiting = (observation?.waitingByModel ?? [:]).filter { !$0.key.isEmpty }
      .sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
    let held = placements.values.flatMap { $0.running?.memory.models ?? [] }
    let all = OrderedSet(limits.preload + waiting + held)
    // What is no name is no model's.
    return all.filter { model in places.contains { $0.serves(model) } && ModelName(model) != nil }
  }
}
