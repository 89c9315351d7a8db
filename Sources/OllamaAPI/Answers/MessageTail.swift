/// The end of a whole message, where all dialects tell how many tokens the answer has. The rest may be much longer than
/// the answer: Ollama's `context` is there as well, and probabilities are.
struct MessageTail: Sendable {
  /// In bytes: more than the members behind the count take.
  private static let longest = 512
  private static let names = [#""eval_count":"#, #""completion_tokens":"#, #""output_tokens":"#]
  private static let questionNames = [#""prompt_eval_count":"#, #""prompt_tokens":"#, #""input_tokens":"#]

  private var tail: [UInt8] = []
  private(set) var byteCount = 0

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    byteCount += bytes.count
    let last = bytes.suffix(Self.longest)
    let excess = tail.count + last.count - Self.longest
    if excess > 0 { tail.removeFirst(excess) }
    tail.append(contentsOf: last)
  }

  /// As the message says, which can't be more than it has bytes; where it says nothing, a fourth of its bytes.
  var tokens: Int {
    let told = Self.names.lazy.compactMap { number(behind: $0) }.first
    return min(told ?? byteCount / 4, byteCount)
  }

  /// Of the question, as the message says.
  var questionTokens: Int? { Self.questionNames.lazy.compactMap { number(behind: $0) }.first }

  /// A quote within text has a backslash before it, so that no answer can make its own count up.
  private func number(behind name: String) -> Int? {
    guard let place = tail.lastRange(of: Array(name.utf8)) else { return nil }
    let digits = tail[place.upperBound...].drop { $0 == UInt8(ascii: " ") }.prefix { (48...57).contains($0) }
    return Int(String(decoding: digits.prefix(12), as: UTF8.self))
  }
}

extension [UInt8] {
  fileprivate func lastRange(of part: [UInt8]) -> Range<Int>? {
    guard count >= part.count else { return nil }
    for start in stride(from: count - part.count, through: 0, by: -1)
    where self[start..<start + part.count].elementsEqual(part) {
      return start..<start + part.count
    }
    return nil
  }
}
