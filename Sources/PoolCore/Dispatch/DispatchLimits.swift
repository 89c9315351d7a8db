/// Bounds of the dispatch, from the configuration.
package struct DispatchLimits: Hashable, Sendable {
  /// Requests that may wait at once.
  package var waitingRequests = 10_000
  /// The longest wait; nil for none.
  package var maximumWait: Duration?
  /// How often a request is put back after a failed attempt.
  package var attemptsPutBack = 2
  /// No byte of the answer for so long since the request was sent: the instance is unhealthy. Covers a load.
  package var firstByteLimit: Duration = .seconds(600)
  /// A begun answer says nothing for so long: it is ended, and where it is a stream of inference, the instance is
  /// unhealthy.
  package var stallTimeout: Duration = .seconds(30)
  /// A probe that has no answer after so long is missed.
  package var probeTimeout: Duration = .seconds(1)
  /// So many missed probes in a row: unhealthy.
  package var probeFailures = 3
  /// So many requests in a row that an instance failed and others served, or that it gave no answer: unhealthy.
  package var erredRequests = 3
  package var probeInterval: Duration = .seconds(1)
  /// Between probes of an instance that has never answered.
  package var startingProbeInterval: Duration = .milliseconds(50)
  /// Models that every instance loads before it counts as ready.
  package var preload: [String] = []

  package init() {}
}
