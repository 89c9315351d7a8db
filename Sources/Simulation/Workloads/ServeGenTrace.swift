import PoolCore

/// Rates of Alibaba's services (ServeGen, 2025): CSV with a row for each client and window of ten minutes, `client`,
/// `t_s`, `rate_rps`, `pattern` (of the times between arrivals: Gamma or Weibull) and its `shape`.
///
/// The scale of the distribution is not taken from there: it follows from the rate.
struct ServeGenTrace: Sendable {
  /// Which column is which, from 0.
  let client: Int
  let time: Int
  let rate: Int
  let pattern: Int
  let shape: Int

  func window(_ line: Substring) throws(LineProblem) -> RequestRates.Window {
    let fields = line.fields.map(\.trimmed)
    guard let most = [client, time, rate, pattern, shape].max(), most < fields.count else {
      throw LineProblem("has \(fields.count) columns, and not as many as the first line")
    }
    let shape = try TraceField.number(fields[shape], "shape", atMost: 1e6)
    guard shape >= 0.01 else { throw LineProblem("shape is \(fields[self.shape]), and not at least 0.01") }
    let gaps: ArrivalGaps
    switch fields[pattern].lowercased() {
    case "gamma": gaps = .gamma(shape: shape)
    case "weibull": gaps = .weibull(shape: shape)
    default: throw LineProblem("pattern is \"\(fields[pattern].prefix(40))\", and neither Gamma nor Weibull")
    }
    return RequestRates.Window(
      client: String(fields[client].prefix(100)),
      from: .seconds(rounding: try TraceField.number(fields[time], "t_s", atMost: 31 * 86_400)),
      perSecond: try TraceField.number(fields[rate], "rate_rps", atMost: 1e6), gaps: gaps)
  }
}
