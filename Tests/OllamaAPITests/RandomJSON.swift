/// A small seeded generator (SplitMix64), so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// Random valid JSON text.
struct RandomJSON {
  var random: SeededGenerator

  mutating func space() -> String { ["", "", "", " ", "\n ", "\t", "\r\n"].randomElement(using: &random) ?? "" }

  /// A string with its quotes.
  mutating func string() -> String {
    let pieces = [
      "a", "model", "stream", "\\\"", "\\\\", "\\n", "\\u00e9", "\\ud83d\\ude00", "é", "😀", "{", "}", "[", "]", ",",
      ":",
      "true", "\\/", "\\t", " ", "\\\\\\\"",
    ]
    return "\""
      + (0..<Int.random(in: 0...6, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
      .joined() + "\""
  }

  mutating func value(depth: Int = 0) -> String {
    switch Int.random(in: 0...(depth > 4 ? 4 : 6), using: &random) {
    case 0: return string()
    case 1: return ["0", "-1", "3.25", "1e9", "-2.5E-3"].randomElement(using: &random) ?? "0"
    case 2: return "true"
    case 3: return "false"
    case 4: return "null"
    case 5:
      return "[" + space()
        + (0..<Int.random(in: 0...3, using: &random)).map { _ in value(depth: depth + 1) + space() }
        .joined(separator: "," + space()) + "]"
    default:
      return object((0..<Int.random(in: 0...3, using: &random)).map { _ in (string(), value(depth: depth + 1)) })
    }
  }

  mutating func object(_ members: [(String, String)]) -> String {
    "{" + space() + members.map { $0 + space() + ":" + space() + $1 + space() }.joined(separator: "," + space()) + "}"
  }
}
