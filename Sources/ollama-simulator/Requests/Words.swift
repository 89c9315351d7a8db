/// Made-up words, the same for the same seed and prompt.
struct Words: Sendable {
  private let seed: UInt64

  init(seed: UInt64, prompt: String) {
    // FNV-1a: Swift's own hash differs from run to run.
    self.seed = prompt.utf8.reduce(seed ^ 0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
  }

  /// The word at `index`, with the space before it.
  func word(_ index: Int) -> String {
    let word = Self.all[Int(random(index) % UInt64(Self.all.count))]
    return index == 0 ? word.prefix(1).uppercased() + word.dropFirst() : " " + word
  }

  /// Eight hexadecimal digits.
  var identifier: String {
    let digits = String(random(-1) & 0xFFFF_FFFF, radix: 16)
    return String(repeating: "0", count: 8 - digits.utf8.count) + digits
  }

  /// A number from -1 to 1.
  func number(_ index: Int) -> Double { Double(random(index) >> 11) / Double(1 << 52) - 1 }

  private func random(_ index: Int) -> UInt64 {
    var z = seed &+ UInt64(bitPattern: Int64(index) &+ 1) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  private static let all = [
    "a", "the", "of", "and", "to", "in", "is", "that", "it", "for", "with", "as", "on", "be", "by", "this", "simulated",
    "answer", "model", "token", "queue", "pool", "slot", "light", "water", "river", "stone", "paper", "window",
    "garden",
    "morning", "evening", "quiet", "slow", "quick", "bright", "small", "large", "open", "closed", "under", "over",
    "between", "after", "before", "again", "always", "never", "perhaps", "because", "while", "where", "when", "how",
    "listen", "carry", "turn", "begin", "finish", "count", "measure", "wait", "arrive", "leave",
  ]
}
