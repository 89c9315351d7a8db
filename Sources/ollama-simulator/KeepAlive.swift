/// How long a model stays loaded after its last request.
enum KeepAlive: Sendable, Equatable {
  case seconds(Double)
  case forever

  /// Reads Go's duration text (`5m`, `1h30m`, `-1s`), or a number of seconds; negative is for ever.
  init?(text: String) {
    let text = text.trimmingBlanks()
    guard let seconds = Double(text) ?? Self.goDuration(text) else { return nil }
    self.init(seconds: seconds)
  }

  init(seconds: Double) { self = seconds < 0 ? .forever : .seconds(min(seconds, 1e9)) }

  private static func goDuration(_ text: Substring) -> Double? {
    var rest = text
    let isNegative = rest.hasPrefix("-")
    if isNegative || rest.hasPrefix("+") { rest = rest.dropFirst() }
    guard !rest.isEmpty else { return nil }
    var total = 0.0
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isNumber || $0 == "." }
      rest = rest.dropFirst(digits.count)
      let unit = rest.prefix { !$0.isNumber && $0 != "." }
      rest = rest.dropFirst(unit.count)
      guard let count = Double(digits), let size = unitSeconds[String(unit)] else { return nil }
      total += count * size
    }
    return isNegative ? -total : total
  }

  private static let unitSeconds: [String: Double] = [
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600,
  ]
}
