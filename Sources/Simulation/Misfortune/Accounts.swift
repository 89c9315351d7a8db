import PoolCore

/// What users used, kept in the plainest way: every single use with its time.
struct Accounts: Sendable {
  private struct Use: Sendable {
    let request: RequestID
    let at: Instant
    var requests = 0
    var tokens = 0
  }

  private struct Request: Sendable {
    let user: UserID
    var answerTokens = 0
    var hasBegun = false
    var isOfThisLife = true
  }

  private var uses: [UserID: [Use]] = [:]
  private var requests: [RequestID: Request] = [:]

  /// As if it were accepted; ``ended(_:_:)`` takes that back.
  mutating func arrives(_ id: RequestID, _ request: SimulatedRequest, at now: Instant) {
    guard request.need.isInference else { return }
    requests[id] = Request(user: request.share.user)
    let use = Use(request: id, at: now, requests: 1, tokens: request.inputTokens)
    uses[request.share.user, default: []].append(use)
  }

  mutating func begun(_ id: RequestID) { requests[id]?.hasBegun = true }

  mutating func answered(_ id: RequestID, _ tokens: Int, at now: Instant) {
    guard let request = requests[id], tokens > request.answerTokens else { return }
    requests[id]?.answerTokens = tokens
    uses[request.user, default: []].append(Use(request: id, at: now, tokens: tokens - request.answerTokens))
  }

  mutating func answersAnew(_ id: RequestID) {
    requests[id]?.answerTokens = 0
    requests[id]?.hasBegun = false
  }

  mutating func ended(_ id: RequestID, _ outcome: RequestOutcome) {
    guard let request = requests.removeValue(forKey: id) else { return }
    switch outcome {
    case .served, .cancelled: return
    case .expired, .failed:
      guard !request.hasBegun, request.isOfThisLife else { return }
      guard let first = uses[request.user]?.firstIndex(where: { $0.request == id && $0.requests > 0 }) else { return }
      uses[request.user]?.remove(at: first)
    }
  }

  /// What it had is another's now, who takes nothing back.
  mutating func dispatcherDied() {
    for id in requests.keys {
      requests[id]?.isOfThisLife = false
      answersAnew(id)
    }
  }

  /// In the present minute and the sixty before.
  func usage(of user: UserID, at now: Instant) -> UsageLedger.Usage {
    let minute = UsageLedger.minute(of: now)
    let counted = (uses[user] ?? []).filter { minute - UsageLedger.minute(of: $0.at) < 61 }
    return UsageLedger.Usage(
      requests: counted.reduce(0) { $0 + $1.requests }, tokens: counted.reduce(0) { $0 + $1.tokens })
  }

  var users: [UserID] { uses.keys.sorted() }
}
