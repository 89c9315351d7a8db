/// A point in time of the caller's monotonic clock, in nanoseconds since an origin that only the caller knows.
///
/// The core never asks for the time: every event carries it. So the same code runs against the machine's clock, in
/// the tests and in the simulation's virtual time.
package struct Instant: Hashable, Comparable, Sendable {
  package var nanoseconds: Int64

  package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// The origin of the caller's clock.
  package static let zero = Instant(nanoseconds: 0)

  package static func < (lhs: Instant, rhs: Instant) -> Bool { lhs.nanoseconds < rhs.nanoseconds }

  /// Sums that leave the range of Int64 stay at its end: "never" is a deadline like any other.
  package static func + (lhs: Instant, rhs: Duration) -> Instant {
    let (sum, overflow) = lhs.nanoseconds.addingReportingOverflow(rhs.nanoseconds)
    return Instant(nanoseconds: overflow ? (rhs < .zero ? .min : .max) : sum)
  }

  package static func - (lhs: Instant, rhs: Duration) -> Instant { lhs + (.zero - rhs) }

  package static func - (lhs: Instant, rhs: Instant) -> Duration { .nanoseconds(lhs.nanoseconds - rhs.nanoseconds) }
}

extension Duration {
  /// The whole nanoseconds of this duration; beyond ±292 years the nearest end of Int64.
  package var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, overflow2) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
    return overflow || overflow2 ? (seconds < 0 ? .min : .max) : sum
  }

  /// This duration in seconds, for figures and texts.
  package var seconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) / 1e18
  }

  /// A duration of a fraction of seconds, to the nanosecond; beyond ±292 years the nearest end, and zero for no number.
  package static func seconds(rounding seconds: Double) -> Duration {
    guard !seconds.isNaN else { return .zero }
    return .nanoseconds(Int64(exactly: (seconds * 1e9).rounded()) ?? (seconds < 0 ? .min : .max))
  }
}
