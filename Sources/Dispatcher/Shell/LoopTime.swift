import NIOCore
import PoolCore

/// The one clock of the dispatcher: the event loop's, CLOCK_MONOTONIC. The core's times are its nanoseconds.
extension Instant {
  static var now: Instant { Instant(NIODeadline.now()) }

  init(_ deadline: NIODeadline) { self.init(nanoseconds: Int64(clamping: deadline.uptimeNanoseconds)) }
}
