package import PoolCore

/// The pool that a workload is replayed through.
package struct ReplaySettings: Sendable {
  /// At least 1 each.
  package var gpus = 4
  package var slots = 4
  package var speed = TokenSpeed()
  /// From the order to start an instance to its slots; evenly distributed.
  package var coldStart: ClosedRange<Duration> = .seconds(20)...(.seconds(20))
  /// Models that an instance has in memory at once; at least 1. As Ollama's own, for one GPU. Counts as `loadTime` does
  /// where the workload has several.
  package var loadedModels = 3
  /// How long an instance that runs loads a model.
  package var loadTime: Duration = .seconds(15)
  package var scaling = ScalingSettings()
  package var dispatchLimits = DispatchLimits()
  package var seed: UInt64 = 1
  /// When the workload begins, for a schedule.
  package var startsAt = WeekTime(day: 0, minute: 0)

  package init() {}

  /// From the order to the unit running; a part of the cold start.
  static let unitStart: Duration = .milliseconds(30)
  /// From the order to stop to the unit's end.
  static let unitStop: Duration = .seconds(1)
  /// So long after the last arrival a run ends, whatever still waits: a pool that may have no instance serves nobody.
  static let longestAftermath: Duration = .seconds(86_400)

  /// Before the first arrival: what is always there is there.
  var warmUp: Duration {
    let together = max(1, scaling.parallelStarts)
    return coldStart.upperBound * max(1, (min(scaling.minimum, gpus) + together - 1) / together) + .seconds(10)
  }
  var shortestColdStart: Duration { max(coldStart.lowerBound, Self.unitStart) }
}

/// Something else than the pool's own rule that says how many instances there are to be.
package protocol ScalingPolicy: Sendable {
  /// Between two decisions.
  var period: Duration { get }
  /// - Parameter now: since the beginning of the workload.
  mutating func target(_ view: ScalingView, at now: Instant) -> Int
}

/// What a policy sees of the pool.
package struct ScalingView: Hashable, Sendable {
  /// Requests that wait for a slot, and those that have one.
  package var waiting: Int
  package var inFlight: Int
  package var ready: Int
  package var starting: Int
  package var slots: Int
  package var gpus: Int
}
