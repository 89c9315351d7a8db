import DequeModule

/// Who has been in a level for how long, the longest first. What is no longer so stays until its time comes, or until
/// it is more than half of all.
struct AgingLine: Sendable {
  typealias Stay = (id: RequestID, since: Instant)

  private var stays: Deque<Stay> = []

  var count: Int { stays.count }

  /// - Parameter since: not before that of an earlier one.
  mutating func append(_ id: RequestID, since: Instant) { stays.append((id, since)) }

  /// Takes those out that have stayed for so long.
  mutating func due(_ aging: Duration, at now: Instant) -> [Stay] {
    var due: [Stay] = []
    while let first = stays.first, now - first.since >= aging { due.append(stays.removeFirst()) }
    return due
  }

  mutating func keep(_ isSo: (Stay) -> Bool) { stays.removeAll { !isSo($0) } }
}
