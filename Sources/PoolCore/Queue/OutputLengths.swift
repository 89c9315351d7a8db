import DequeModule

/// How many tokens answers had lately: the last 300.
///
/// Before there are any, some are assumed. They count as the oldest ones: what is observed outweighs them after a few
/// answers, and in the end displaces them.
struct OutputLengths: Sendable {
  private static let most = 300
  /// The mean of 19,366 answers in Microsoft's trace of conversations (AzureLLMInferenceTrace_conv of
  /// Azure/AzurePublicDataset; Patel et al., "Splitwise", ISCA 2024).
  static let assumedMean = 211
  /// Ten: enough that one answer, of a word or of ten thousand, does not decide alone what is expected of the next.
  private var assumed = 10
  private var lengths: Deque<Int> = []
  private var sum = 0

  var mean: Int { (assumed * Self.assumedMean + sum) / (assumed + lengths.count) }

  mutating func add(_ tokens: Int) {
    lengths.append(Self.bounded(tokens))
    sum += Self.bounded(tokens)
    guard assumed + lengths.count > Self.most else { return }
    if assumed > 0 { assumed -= 1 } else { sum -= lengths.removeFirst() }
  }

  /// No question or answer has more than a hundred million: keeps sums far from the end of Int.
  static func bounded(_ tokens: Int) -> Int { min(max(0, tokens), 100_000_000) }
}
