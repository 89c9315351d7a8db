/// The queues of front ends that keep one of their own and report its depth. A report counts in scaling while the
/// connection that made it lives.
package struct OutsideQueues: Sendable {
  /// Front ends that one connection may report for.
  package static let frontEndsPerSession = 16
  /// The deepest queue that a report may claim, so that a mistaken front end can't ask for the moon.
  package static let deepest = 10_000

  package struct Report: Hashable, Sendable {
    package var frontEnd: String
    package var depth: Int
    package var oldestWait: Duration?

    package init(frontEnd: String, depth: Int, oldestWait: Duration?) {
      self.frontEnd = frontEnd
      self.depth = depth
      self.oldestWait = oldestWait
    }
  }

  private var bySession: [UInt64: [String: Report]] = [:]

  package init() {}

  /// - Returns: false if the session reports for too many front ends already; then nothing changes.
  package mutating func report(_ report: Report, session: UInt64) -> Bool {
    var report = report
    report.depth = min(max(0, report.depth), Self.deepest)
    let known = bySession[session, default: [:]]
    guard known[report.frontEnd] != nil || known.count < Self.frontEndsPerSession else { return false }
    bySession[session, default: [:]][report.frontEnd] = report
    return true
  }

  package mutating func forget(session: UInt64) { bySession[session] = nil }

  package var depth: Int { reports.reduce(0) { $0 + $1.depth } }

  package var reports: [Report] {
    bySession.values.flatMap(\.values).sorted { ($0.frontEnd, $0.depth) < ($1.frontEnd, $1.depth) }
  }
}
