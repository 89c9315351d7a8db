import DequeModule

/// How long requests were served lately.
///
/// Waits are foreseen by those that ended while others waited, since an instance whose slots are all busy is slower for
/// each of them: the last 300. Where there are few of these, all of the last 300 stand in for the rest.
package struct ServiceTimes: Hashable, Sendable {
  /// What is taken for the mean before any request has been served.
  package var assumed: Duration

  private var all = Window()
  private var crowded = Window()

  /// So many of all stand in where there are no crowded ones yet.
  private static let stand = 30.0

  package init(assumed: Duration = .seconds(35)) { self.assumed = assumed }

  /// Whether ``mean`` is only assumed.
  package var isAssumed: Bool { all.times.isEmpty }

  package var mean: Duration { isAssumed ? assumed : .seconds(rounding: blended(\.mean)) }

  /// The standard deviation. Before there are two, as large as the mean, as it is for times without memory.
  package var deviation: Duration { all.times.count < 2 ? mean : .seconds(rounding: blended(\.variance).squareRoot()) }

  private func blended(_ moment: KeyPath<Window, Double>) -> Double {
    let count = Double(crowded.times.count)
    return (crowded[keyPath: moment] * count + all[keyPath: moment] * Self.stand) / (count + Self.stand)
  }

  /// - Parameter isCrowded: whether others waited when it ended.
  package mutating func add(_ time: Duration, isCrowded: Bool) {
    all.add(max(0, time.seconds))
    if isCrowded { crowded.add(max(0, time.seconds)) }
  }

  private struct Window: Hashable, Sendable {
    private static let most = 300

    /// In seconds.
    private(set) var times: Deque<Double> = []
    private(set) var mean = 0.0
    private(set) var variance = 0.0

    mutating func add(_ time: Double) {
      times.append(time)
      if times.count > Self.most { times.removeFirst() }
      mean = times.reduce(0, +) / Double(times.count)
      let mean = mean
      variance = times.count < 2 ? 0 : times.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(times.count - 1)
    }
  }
}
