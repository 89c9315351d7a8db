import PoolCore
import QueueStore

/// The wall clock for what is deleted when it is old: it runs no faster than the monotonic one. A clock that is wrong
/// for a minute must not cost everybody's sessions; what expires meanwhile may stay until the next start.
struct ExpiryClock {
  private let began: (wall: WallTime, now: Instant)

  init(_ wall: WallTime, at now: Instant) { began = (wall, now) }

  func time(_ wall: WallTime, at now: Instant) -> WallTime { min(wall, began.wall - (began.now - now)) }
}
