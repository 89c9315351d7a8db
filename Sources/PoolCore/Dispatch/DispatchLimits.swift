/// Bounds of the dispatch, from the configuration.
package struct DispatchLimits: Hashable, Sendable {
  /// Requests that may wait at once.
  package var waitingRequests = 10_000
  /// The longest wait; nil for none.
  package var maximumWait: Duration?
  /// Whether of two users in one class the one who has had less comes first.
  package var isFair = false
  /// After so long in a class a request counts as of the one above, and past the first class the first of a user's
  /// comes before all turns: the bound on starvation; nil for never. Shorter than what a batch takes, it turns priority
  /// back into first in, first out.
  package var aging: Duration? = .seconds(300)
  /// What a request is believed to be served for before any was, and an instance to start for.
  package var assumedService: Duration = .seconds(35)
  package var coldStart: Duration = .seconds(20)
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
  /// Models that every instance loads before it counts as ready, and loads again when they were evicted. With their
  /// tags, as instances list them, in upper and lower case as written.
  package var preload: [String] = []
  /// What of these is not loaded with the defaults.
  package var preloadOptions: [String: RunnerOptions] = [:]
  /// Between a load of a model under `preload` and the next one after an eviction: nothing for the first, then this,
  /// then twice as much each time up to the longest: 10, 20, 40, 80, 160, 300 s. It begins anew with a model that
  /// stayed for the longest.
  package var firstPreloadPause: Duration = .seconds(10)
  package var longestPreloadPause: Duration = .seconds(300)
  /// How often a healthy instance is asked what it holds in memory.
  package var listInterval: Duration = .seconds(10)
  /// It may take its time: the list waits for Ollama's scheduler.
  package var listTimeout: Duration = .seconds(2)
  /// So old a list is worth nothing any more.
  package var listLifetime: Duration = .seconds(60)

  package init() {}
}
