import DequeModule

/// L: how long an instance takes from its start to being ready, the 90th percentile of the last starts.
package struct ColdStarts: Hashable, Sendable {
  static let remembered = 32
  private var samples: Deque<Duration> = []

  package init() {}

  package mutating func add(_ sample: Duration) {
    samples.append(sample)
    if samples.count > Self.remembered { samples.removeFirst() }
  }

  package var isEmpty: Bool { samples.isEmpty }

  /// - Parameter assumed: what is believed before the first measurement.
  package func typical(assumed: Duration) -> Duration { rank(9, assumed) }

  package func median(assumed: Duration) -> Duration { rank(5, assumed) }

  private func rank(_ tenths: Int, _ assumed: Duration) -> Duration {
    guard !samples.isEmpty else { return assumed }
    let sorted = samples.sorted()
    return sorted[(sorted.count - 1) * tenths / 10]
  }
}
