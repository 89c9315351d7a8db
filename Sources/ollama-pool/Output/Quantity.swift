/// Numbers as people read them.
enum Quantity {
  /// A time, in at most two units: `0.4s`, `12s`, `3m 20s`, `2h 5m`, `4d 3h`.
  static func duration(seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "-" }
    if seconds < 10 { return tenths(seconds) + "s" }
    let whole = Int(seconds)
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
    guard let first = units.firstIndex(where: { whole >= $0.1 }) else { return "0s" }
    let (name, size) = units[first]
    let rest = first + 1 < units.count ? whole % size / units[first + 1].1 : 0
    return "\(whole / size)\(name)" + (rest > 0 ? " \(rest)\(units[first + 1].0)" : "")
  }

  /// `23.5 GiB`, `512 MiB`.
  static func bytes(_ count: Int) -> String {
    var value = Double(count)
    var unit = "B"
    for larger in ["KiB", "MiB", "GiB", "TiB"] where value >= 1024 {
      value /= 1024
      unit = larger
    }
    return value >= 100 || unit == "B" ? "\(Int(value.rounded())) \(unit)" : "\(tenths(value)) \(unit)"
  }

  /// `1 request`, `2 requests`.
  static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

  private static func tenths(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
  }
}
