/// What users may ask, have open, and used in the last hour.
extension Dispatch {
  /// When one of a user's own requests has ended, more or less: nobody can tell.
  private static let shortPause: Duration = .seconds(5)

  /// Which of its user's limits forbids inference. Nothing is counted.
  func refusalByUser(of record: Record, at now: Instant) -> Refusal? {
    guard record.request.need.isInference else { return nil }
    let share = record.request.share
    if let refusal = usage.refusal(of: share.user, share.limits, at: now) { return refusal }
    let open = open(of: share.user)
    if let most = share.limits.concurrent, open.total >= most {
      return Refusal(.tooManyConcurrent, retryAfter: Self.shortPause)
    }
    // What starts at once does not wait.
    if let most = share.limits.waiting, open.waiting >= most, !needsNoPlace(record) {
      return Refusal(.tooManyWaiting, retryAfter: Self.shortPause)
    }
    return nil
  }

  /// What a user has open of inference.
  package func open(of user: UserID) -> OpenRequests { openByUser[user] ?? OpenRequests() }

  /// What is left of a user's limits by the hour; nil where there is none.
  package func standing(
    of user: UserID, _ limits: UserLimits, at now: Instant
  ) -> (requests: LimitStanding?, tokens: LimitStanding?) {
    (usage.requestStanding(of: user, limits, at: now), usage.tokenStanding(of: user, limits, at: now))
  }

  /// What users used before this dispatcher began; to be called before anything else happens.
  package mutating func restoreUsage(_ kept: [UsageLedger.Entry], at now: Instant) {
    usage = UsageLedger(kept, at: now)
  }

  /// What users have used has changed so since the last call.
  package mutating func takeUsageChanges() -> [UsageLedger.Entry] { usage.takeChanges() }

  // MARK: Counting

  /// Inference is accepted. What nobody can serve is given back, see `giveBack`.
  mutating func use(_ request: DispatchRequest, at now: Instant) {
    guard request.need.isInference else { return }
    let question = UsageLedger.Usage(requests: 1, tokens: OutputLengths.bounded(request.inputTokens))
    usage.add(question, of: request.share.user, request.share.limits, at: now)
    requests[request.id]?.countedIn = UsageLedger.minute(of: now)
  }

  /// So many tokens of its answer have come: its user is charged for them while it runs, and for what turned out to be
  /// in the question.
  mutating func progressed(_ id: RequestID, questionTokens: Int = 0, answerTokens: Int, at now: Instant) {
    guard let more = requests[id]?.progressed(questionTokens: questionTokens, answerTokens: answerTokens), more > 0,
      let record = requests[id]
    else { return }
    order.charge(id, inputTokens: record.request.inputTokens, tokens: record.answerTokens)
    let share = record.request.share
    usage.add(UsageLedger.Usage(tokens: more), of: share.user, share.limits, at: now)
  }

  /// What a request has had in the attempt that ends, with which its user is charged.
  func taken(by record: Record, _ outcome: RequestOutcome) -> ServiceOrder.Taken {
    guard case .assigned(_, _, _, let begun) = record.phase else { return .nothing }
    if let status = record.answerStatus, status >= 400 { return .nothing }
    switch outcome {
    case .served: return .tokens(record.answerTokens)
    case _ where begun != nil: return .tokens(record.answerTokens)
    case .cancelled: return record.request.streams ? .tokens(0) : .unknown
    case .expired, .failed: return .nothing
    }
  }

  /// What ended through the pool's fault before any of its answer came costs its user nothing.
  mutating func giveBack(_ record: Record, _ outcome: RequestOutcome) {
    switch outcome {
    case .served, .cancelled: return
    case .expired, .failed: break
    }
    guard let minute = record.countedIn, record.answerStatus.map({ $0 >= 500 }) ?? true else { return }
    let question = UsageLedger.Usage(requests: 1, tokens: OutputLengths.bounded(record.request.inputTokens))
    usage.takeBack(question, of: record.request.share.user, in: minute)
  }

  /// Counts a request in another place, by its model and by its user.
  mutating func count(_ request: DispatchRequest, waiting: Int = 0, running: Int = 0) {
    guard request.need.isInference else { return }
    if request.need == .slot {
      let model = request.model ?? ""
      demand[model, default: Demand()].waiting += waiting
      demand[model]?.inFlight += running
      // Clients make the names up.
      if demand[model] == Demand() { demand[model] = nil }
    }
    let user = request.share.user
    openByUser[user, default: OpenRequests()].waiting += waiting
    openByUser[user]?.running += running
    if openByUser[user] == OpenRequests() { openByUser[user] = nil }
  }
}

extension Dispatch.Record {
  /// - Returns: how many tokens more than before its user is charged for.
  fileprivate mutating func progressed(questionTokens: Int, answerTokens: Int) -> Int {
    // An error is no answer.
    guard request.need.isInference, answerStatus.map({ $0 < 400 }) ?? true else { return 0 }
    func raise(_ tokens: inout Int, to new: Int) -> Int {
      guard new > tokens else { return 0 }
      defer { tokens = new }
      return OutputLengths.bounded(new) - OutputLengths.bounded(tokens)
    }
    return raise(&request.inputTokens, to: questionTokens) + raise(&self.answerTokens, to: answerTokens)
  }
}
