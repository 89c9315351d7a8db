import PoolCore

/// How many requests came from which client at which time of the day.
package struct RequestRates: Sendable {
  package struct Window: Hashable, Sendable {
    package var client: String
    /// Since the beginning.
    package var from: Duration
    package var perSecond: Double
    package var gaps: ArrivalGaps
  }

  package static let windowLength: Duration = .seconds(600)
  /// The most that are made, also of those of which few are kept: some seconds' work.
  private static let mostArrivals = 1e8

  private let clients: [(name: String, windows: [Window])]
  /// By the number of the window.
  private let totals: [Int: Double]

  init(_ windows: [Window]) {
    clients = Dictionary(grouping: windows, by: \.client).map { ($0.key, $0.value.sorted { $0.from < $1.from }) }
      .sorted { $0.0 < $1.0 }
    totals = windows.reduce(into: [:]) { $0[Self.number(of: $1.from), default: 0] += $1.perSecond }
  }

  private static func number(of time: Duration) -> Int { Int(time.seconds / windowLength.seconds) }

  /// Requests a second in the busiest window.
  package var busiest: Double { totals.values.max() ?? 0 }

  /// Requests a second over the windows of a part.
  func mean(_ part: Trace.Part) -> Double {
    let within = totals.filter { part.contains(Self.windowLength * $0.key) }
    return within.isEmpty ? 0 : within.values.reduce(0, +) / Double(within.count)
  }

  /// Requests such as those were.
  ///
  /// Each client's arrivals are a renewal process whose time runs as fast as its rate is high. Of rates that are scaled
  /// down each request is kept by chance, as if fewer users had come.
  ///
  /// - Parameters:
  ///   - factor: of all rates.
  /// - Throws: where that would be too many.
  package func workload(
    _ part: Trace.Part, factor: Double, tokens: TokenLengths, seed: UInt64
  ) throws(TraceError) -> Workload {
    let arrivals = totals.values.reduce(0, +) * Self.windowLength.seconds * max(1, factor)
    guard arrivals <= Self.mostArrivals else {
      throw TraceError(
        "the rates", "make more than \(Int(Self.mostArrivals)) requests, of which each would be looked at")
    }
    var random = SeededGenerator(seed: seed)
    var requests: [WorkloadRequest] = []
    for (name, windows) in clients {
      guard let first = windows.first else { continue }
      // It had been going on before.
      var gap = first.gaps.sample(&random) * Double.random(in: 0..<1, using: &random)
      for window in windows {
        let rate = window.perSecond * max(1, factor)
        guard rate > 0, rate.isFinite else { continue }
        let length = rate * Self.windowLength.seconds
        var passed = gap
        while passed < length {
          let arrival = window.from + .seconds(rounding: passed / rate)
          passed += window.gaps.sample(&random)
          guard factor >= 1 || random.happens(factor), part.contains(arrival) else { continue }
          let (input, output) = (tokens.input.sample(&random), tokens.output.sample(&random))
          requests.append(
            WorkloadRequest(
              arrival: .zero + (arrival - part.from), inputTokens: input, outputTokens: output, user: UserID(name)))
          if requests.count > Trace.mostRequests {
            throw TraceError("the rates", "make more than \(Trace.mostRequests) requests: take less of them")
          }
        }
        gap = passed - length
      }
    }
    return Workload(requests)
  }
}
