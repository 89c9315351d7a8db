import DequeModule

/// How many tokens answers had lately: the last 300.
struct OutputLengths: Sendable {
  private static let most = 300
  private var lengths: Deque<Int> = []
  private var sum = 0

  /// 0 before the first.
  var mean: Int { lengths.isEmpty ? 0 : sum / lengths.count }

  mutating func add(_ tokens: Int) {
    lengths.append(Self.bounded(tokens))
    sum += Self.bounded(tokens)
    if lengths.count > Self.most { sum -= lengths.removeFirst() }
  }

  /// No question or answer has more than a hundred million: keeps sums far from the end of Int.
  static func bounded(_ tokens: Int) -> Int { min(max(0, tokens), 100_000_000) }
}
