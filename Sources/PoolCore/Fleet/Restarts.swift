/// The pause after failures in a row, so that what can't run does not spin.
///
///     failures in a row    1    2    3    4    5 = quarantineAfter
///     pause, had run       0    1 s  2 s  4 s  10 min          (pause 1 s, quarantine 10 min)
///     pause, never ran     1 s  2 s  4 s  8 s  10 min
///
/// The first death of what had run costs no pause: a crash is answered with a new instance at once.
package struct Restarts: Hashable, Sendable {
  package struct Limits: Hashable, Sendable {
    package var pause: Duration = .seconds(1)
    package var pauseMaximum: Duration = .seconds(60)
    /// So many failures in a row put the placement into quarantine.
    package var quarantineAfter = 5
    package var quarantine: Duration = .seconds(600)
    /// An instance that was ready for so long has proven itself; its failures are forgotten.
    package var steadyAfter: Duration = .seconds(60)

    package init() {}
  }

  /// Failures in a row.
  package private(set) var failures = 0
  /// No start before this time.
  package private(set) var retryAt: Instant?
  package private(set) var lastFailure: String?
  package private(set) var isQuarantined = false

  package init() {}

  /// - Returns: the pause until the next start.
  ///
  /// - Parameter hadRun: whether the unit ran at all; a start that fails is not worth an instant second try.
  package mutating func failed(_ reason: String, hadRun: Bool, limits: Limits, at now: Instant) -> Duration {
    failures += 1
    lastFailure = reason
    isQuarantined = failures >= limits.quarantineAfter
    let pause: Duration =
      if isQuarantined {
        limits.quarantine
      } else if failures == 1, hadRun {
        .zero
      } else {
        min(limits.pause * (1 << min(failures - (hadRun ? 2 : 1), 20)), limits.pauseMaximum)
      }
    retryAt = now + pause
    return pause
  }

  /// An operator, or a steady life, wipes the slate.
  package mutating func reset() { self = Restarts() }

  package func mayStart(at now: Instant) -> Bool { retryAt.map { $0 <= now } ?? true }
}
