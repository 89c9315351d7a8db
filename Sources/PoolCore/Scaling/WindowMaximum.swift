import DequeModule

/// The highest value of the last so-long, in O(1) amortised: a deque of falling values, the highest first.
struct WindowMaximum: Hashable, Sendable {
  private struct Sample: Hashable, Sendable {
    var value: Int
    var at: Instant
  }
  private var falling: Deque<Sample> = []

  mutating func add(_ value: Int, at now: Instant) {
    while let last = falling.last, last.value <= value { falling.removeLast() }
    falling.append(Sample(value: value, at: now))
  }

  /// The highest value seen in (now − window, now]; nil without any. The latest value holds until another comes,
  /// however old it is.
  mutating func maximum(window: Duration, at now: Instant) -> (value: Int, at: Instant)? {
    while falling.count > 1, let first = falling.first, now - first.at >= window { falling.removeFirst() }
    return falling.first.map { ($0.value, $0.at) }
  }
}
