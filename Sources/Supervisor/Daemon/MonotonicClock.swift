import Glibc
import PoolCore

/// The machine's monotonic clock, as the core's instants.
enum MonotonicClock {
  static var now: Instant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }

  /// Seconds since 1970, for what must outlive this process.
  static var wallSeconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// By the clock on the wall, in the time zone of the machine.
  static var localTime: WeekTime {
    var seconds = time(nil)
    var parts = tm()
    localtime_r(&seconds, &parts)
    // There Sunday is the first day.
    return WeekTime(day: (Int(parts.tm_wday) + 6) % 7, minute: Int(parts.tm_hour) * 60 + Int(parts.tm_min))
  }
}
