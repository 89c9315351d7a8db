import ControlInterface
import PoolCore

/// The last things that were told, for `Explain`.
struct DecisionLog: Sendable {
  static let remembered = 200

  /// A ring: once full, `next` is the oldest.
  private var events: [(event: SupervisorEvent, at: Instant)] = []
  private var next = 0

  mutating func add(_ event: SupervisorEvent, at now: Instant) {
    if events.count < Self.remembered {
      events.append((event, now))
    } else {
      events[next] = (event, now)
      next = (next + 1) % Self.remembered
    }
  }

  /// Newest last.
  func decisions(at now: Instant) -> [SupervisorTypes.Decision] {
    (events[next...] + events[..<next]).map { event, at in
      SupervisorTypes.Decision(secondsAgo: (now - at).seconds, what: event.what, why: event.why)
    }
  }
}
