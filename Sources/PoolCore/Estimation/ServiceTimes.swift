import DequeModule

/// How long requests were served lately: the last 300.
package struct ServiceTimes: Hashable, Sendable {
  private static let most = 300

  /// What is taken for the mean before any request has been served.
  package var assumed: Duration

  /// In seconds.
  private var times: Deque<Double> = []
  private var meanSeconds = 0.0
  private var deviationSeconds = 0.0

  package init(assumed: Duration = .seconds(35)) { self.assumed = assumed }

  /// Whether ``mean`` is only assumed.
  package var isAssumed: Bool { times.isEmpty }

  package var mean: Duration { times.isEmpty ? assumed : .seconds(rounding: meanSeconds) }

  /// The standard deviation. Before there are two, as large as the mean, as it is for times without memory.
  package var deviation: Duration { times.count < 2 ? mean : .seconds(rounding: deviationSeconds) }

  package mutating func add(_ time: Duration) {
    times.append(max(0, time.seconds))
    if times.count > Self.most { times.removeFirst() }
    meanSeconds = times.reduce(0, +) / Double(times.count)
    let squares = times.reduce(0) { $0 + ($1 - meanSeconds) * ($1 - meanSeconds) }
    deviationSeconds = times.count < 2 ? 0 : (squares / Double(times.count - 1)).squareRoot()
  }
}
