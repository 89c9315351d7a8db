/// Durations as the configuration writes them: `250ms`, `30s`, `10m`, `2h`, or plain seconds. Whole milliseconds.
package enum DurationText {
  private static let units: [(name: String, milliseconds: Int64)] = [
    ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
  ]

  /// `nil` for what is no duration, is negative, or goes on for more than 10,000 days.
  package static func parse(_ text: String) -> Duration? {
    let number = text.prefix { ($0.isASCII && $0.isNumber) || $0 == "." }
    let unitName = text.dropFirst(number.count)
    guard let value = Double(number), number.first != ".", number.last != ".",
      let unit = unitName.isEmpty ? 1_000 : units.first(where: { $0.name == unitName })?.milliseconds
    else { return nil }
    let milliseconds = value * Double(unit)
    guard milliseconds <= 864_000_000_000 else { return nil }
    return .milliseconds(Int64(milliseconds.rounded()))
  }

  /// The largest unit that is exact: `90s`, `10m`.
  package static func render(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    let milliseconds = seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    guard milliseconds != 0, let unit = units.first(where: { milliseconds % $0.milliseconds == 0 }) else { return "0s" }
    return "\(milliseconds / unit.milliseconds)\(unit.name)"
  }
}
