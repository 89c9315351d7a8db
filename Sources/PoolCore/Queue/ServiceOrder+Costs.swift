/// What users are charged: at a request's turn what it is expected to take, as it is answered what it takes where that
/// is more, and at its end what it really took.
extension ServiceOrder {
  /// What a request has had in an attempt.
  package enum Taken: Hashable, Sendable {
    /// It was not worked on, as far as one can tell, or in vain through no fault of its own.
    case nothing
    /// Its question was read, and so many tokens of an answer came.
    case tokens(Int)
    /// An answer that comes whole was given up before it came: nobody knows.
    case unknown
  }

  /// Of its answer so many tokens have come so far.
  ///
  /// - Parameter inputTokens: of the question, where more is known than when it arrived.
  package mutating func charge(_ id: RequestID, inputTokens: Int = 0, tokens: Int) {
    guard var entry = entries[id] else { return }
    if inputTokens > entry.inputTokens {
      entry.inputTokens = inputTokens
      entries[id] = entry
    }
    guard entry.state == .served else { return }
    let cost = entry.spent + cost(of: entry, output: tokens)
    if cost > entry.charged { charge(id, cost) }
  }

  /// So long was an answer that came to its end.
  mutating func learn(outputTokens tokens: Int) {
    // Of embeddings there are none.
    if tokens > 0 { outputs.add(tokens) }
  }

  /// What is expected of a request.
  func expectedCost(of entry: Entry) -> Int { cost(of: entry, output: outputs.mean) }

  func cost(of taken: Taken, _ entry: Entry) -> Int {
    switch taken {
    case .nothing: 0
    case .tokens(let tokens): cost(of: entry, output: tokens)
    case .unknown: max(0, entry.charged - entry.spent)
    }
  }

  /// In thousandths of virtual tokens: a token of an answer counts as two of a question.
  private func cost(of entry: Entry, output: Int) -> Int {
    guard isFair else { return 0 }
    let tokens = Double(OutputLengths.bounded(entry.inputTokens) + 2 * OutputLengths.bounded(output))
    // Not a number is no weight either.
    return Int(min(Self.most, 1000 * tokens / (entry.share.weight > 0.001 ? entry.share.weight : 0.001)))
  }

  /// A thousand million tokens: however many requests a dispatcher ever sees, their sum is no end of Int.
  private static let most = 1e12

  /// Makes `cost` what its user is charged for a request that had its turn.
  mutating func charge(_ id: RequestID, _ cost: Int) {
    guard let entry = entries[id], let lane = entry.chargedIn, cost != entry.charged else { return }
    entries[id]?.charged = cost
    change(lane) { $0.charge(entry.share.user, cost - entry.charged) }
  }
}
