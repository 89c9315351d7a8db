/// When a watcher is told of a change: at once after 100 ms of quiet, then at most every 100 ms, at least every 5 s.
package struct PushPacing: Hashable, Sendable {
  package static let quiet: Duration = .milliseconds(100)
  package static let heartbeat: Duration = .seconds(5)

  private var lastPush: Instant?
  private var isPending = false

  package init() {}

  /// Something a watcher would see has changed.
  package mutating func changed() { isPending = true }

  /// When to push next; a time that is not after `now` means now.
  package func nextPush(at now: Instant) -> Instant {
    guard let lastPush else { return now }
    return lastPush + (isPending ? Self.quiet : Self.heartbeat)
  }

  package mutating func pushed(at now: Instant) {
    lastPush = now
    isPending = false
  }
}
