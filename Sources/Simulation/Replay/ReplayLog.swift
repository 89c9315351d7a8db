package import PoolCore

/// What happened in a replay.
package struct ReplayLog: Sendable {
  package struct Request: Hashable, Sendable {
    package var startedAt: Instant?
    package var endedAt: Instant?
    package var outcome: RequestOutcome?
    /// Whether it waited on an instance for its model.
    package var awaitedModel = false
    /// What was foreseen when it came; nil where it started at once.
    package var foreseen: WaitingEstimate?
  }

  /// Of a moment.
  package struct Sample: Hashable, Sendable {
    package var at: Instant
    package var waiting: Int
  }

  /// When the workload began.
  package let began: Instant
  package private(set) var ended = Instant.zero
  /// In the order of the workload.
  package private(set) var requests: [Request]
  package private(set) var samples: [Sample] = []
  /// How many instances hold their GPUs from then on: from the order to start to the unit's end.
  package private(set) var held: [(at: Instant, count: Int)] = []
  /// How many instances there were to be from then on.
  package private(set) var targets: [(at: Instant, count: Int)] = []
  /// Orders to start and to stop.
  package private(set) var orders: [(at: Instant, isStart: Bool)] = []

  /// When an instance in use had loaded a model.
  package private(set) var loads: [Instant] = []

  init(requests: Int, began: Instant) {
    self.requests = Array(repeating: Request(), count: requests)
    self.began = began
  }

  mutating func foresaw(_ number: Int, _ estimate: WaitingEstimate?) { requests[number].foreseen = estimate }

  mutating func started(_ number: Int, at now: Instant) { requests[number].startedAt = now }

  mutating func awaitedModel(_ number: Int) { requests[number].awaitedModel = true }

  mutating func loaded(at now: Instant) { loads.append(now) }

  mutating func ended(_ number: Int, _ outcome: RequestOutcome, at now: Instant) {
    requests[number].endedAt = now
    requests[number].outcome = outcome
  }

  mutating func saw(waiting: Int, at now: Instant) { samples.append(Sample(at: now, waiting: waiting)) }

  mutating func aimed(at count: Int, _ now: Instant) { targets.append((now, count)) }

  mutating func ordered(at now: Instant) {
    orders.append((now, true))
    held.append((now, (held.last?.count ?? 0) + 1))
  }

  mutating func stopped(at now: Instant) { orders.append((now, false)) }

  mutating func left(at now: Instant) { held.append((now, (held.last?.count ?? 0) - 1)) }

  mutating func finish(at now: Instant) { ended = max(now, began) }
}
