import PoolCore
import Varlink

/// The calls of `Watch` that are open, and when they are due.
struct Watchers {
  private var calls: [VarlinkCall] = []
  private var pacing = PushPacing()
  private var isScheduled = false

  mutating func add(_ call: VarlinkCall) { calls.append(call) }

  /// - Returns: how long to wait before a push; nil where none is to be scheduled.
  mutating func changed(at now: Instant) -> Duration? {
    guard !calls.isEmpty else { return nil }
    pacing.changed()
    guard !isScheduled else { return nil }
    isScheduled = true
    return max(.zero, pacing.nextPush(at: now) - now)
  }

  /// Whether the last push is so long ago that silence would look like death.
  mutating func needHeartbeat(at now: Instant) -> Bool {
    calls.removeAll { !$0.isOpen }
    return !calls.isEmpty && !isScheduled && pacing.nextPush(at: now) <= now
  }

  /// Those to be told now. One that does not keep up is told the next time: it is the state that is pushed, not what
  /// changed.
  mutating func takeDue(at now: Instant) -> [VarlinkCall] {
    isScheduled = false
    pacing.pushed(at: now)
    calls.removeAll { !$0.isOpen }
    return calls.filter(\.isWritable)
  }
}
