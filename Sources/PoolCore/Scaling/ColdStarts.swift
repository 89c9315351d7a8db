import DequeModule

/// L: how long an instance takes from its start to being ready, the 90th percentile of the last starts.
package struct ColdStarts: Hashable, Sendable {
  static let remembered = 32
  private var samples: Deque<Duration> = []
  /// Kept, since they are asked for far more often than an instance starts.
  private var median = Duration.zero
  private var typical = Duration.zero

  package init() {}

  package mutating func add(_ sample: Duration) {
    samples.append(sample)
    if samples.count > Self.remembered { samples.removeFirst() }
    let sorted = samples.sorted()
    median = sorted[(sorted.count - 1) / 2]
    typical = sorted[(sorted.count - 1) * 9 / 10]
  }

  package var isEmpty: Bool { samples.isEmpty }

  /// - Parameter assumed: what is believed before the first measurement.
  package func typical(assumed: Duration) -> Duration { samples.isEmpty ? assumed : typical }

  package func median(assumed: Duration) -> Duration { samples.isEmpty ? assumed : median }
}
