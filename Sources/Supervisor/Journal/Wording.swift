import PoolCore

/// `1 request`, `2 requests`.
func counted(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

extension Duration {
  /// For people, in two or three digits: `3.1 s`, `45 s`, `10 min`, `3 h`.
  var brief: String {
    switch seconds {
    case ..<9.95:
      let tenths = Int((max(0, seconds) * 10).rounded())
      return tenths % 10 == 0 ? "\(tenths / 10) s" : "\(tenths / 10).\(tenths % 10) s"
    case ..<119.5: return "\(Int(seconds.rounded())) s"
    case ..<(119.5 * 60): return "\(Int((seconds / 60).rounded())) min"
    default: return "\(Int((seconds / 3600).rounded())) h"
    }
  }
}

extension Duration {
  /// As `brief`, with milliseconds below a second: "40 ms".
  var fine: String { self < .seconds(1) ? "\(Int((self / .milliseconds(1)).rounded())) ms" : brief }
}
