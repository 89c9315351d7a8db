import Glibc

/// A moment by the wall clock, to the millisecond: what outlives a process can't be told by its monotonic clock.
package struct WallTime: Hashable, Comparable, Sendable {
  /// Since 1970, in UTC.
  package var milliseconds: Int64

  package init(milliseconds: Int64) { self.milliseconds = milliseconds }

  package static var now: WallTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return WallTime(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
  }

  /// Whole minutes since 1970, in UTC.
  package var minute: Int64 { (milliseconds - (milliseconds % 60_000 + 60_000) % 60_000) / 60_000 }

  package static func - (lhs: WallTime, rhs: Duration) -> WallTime {
    let (seconds, attoseconds) = rhs.components
    return WallTime(milliseconds: lhs.milliseconds - seconds * 1000 - attoseconds / 1_000_000_000_000_000)
  }

  package static func < (lhs: WallTime, rhs: WallTime) -> Bool { lhs.milliseconds < rhs.milliseconds }
}
