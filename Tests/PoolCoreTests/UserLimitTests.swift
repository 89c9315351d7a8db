import Testing

@testable import PoolCore

/// What a user's limits forbid, and what counts against them.
@Suite struct UserLimitTests {
  private func share(_ limits: UserLimits, of user: UserID = "eva") -> DispatchRequest.Share {
    DispatchRequest.Share(user: user, limits: limits)
  }

  @Test func beyondTheRequestsOfAnHourItIsRefusedUntilTheFirstIsAnHourOld() {
    var pool = PoolUnderTest(instances: 1)
    let two = share(UserLimits(requestsPerHour: 2))
    for number: UInt64 in 1...3 {
      pool.arrive(number, share: two)
      pool.end(number)
    }
    #expect(pool.ended[3] == .failed(.rateLimited) && pool.retryAfter[3] == .seconds(61 * 60))
    // What was refused counts nothing.
    let standing = pool.dispatch.standing(of: "eva", two.limits, at: pool.now)
    #expect(standing.requests == LimitStanding(limit: 2, remaining: 0, reset: .seconds(61 * 60)))
    #expect(standing.tokens == nil)
    pool.now = pool.now + .seconds(61 * 60)
    pool.arrive(4, share: two)
    #expect(pool.started == [1, 2, 4])
  }

  @Test func whatIsComputedElsewhereTakesNoSlotAndCountsAsWell() {
    var pool = PoolUnderTest(instances: 1)
    let limits = share(UserLimits(requestsPerHour: 3, tokensPerHour: 1000, concurrent: 2))
    for number: UInt64 in 1...3 { pool.arrive(number, need: .remoteInference, share: limits, tokens: 10) }
    #expect(pool.started == [1, 2] && pool.dispatch.inFlight == 0)
    #expect(pool.ended == [3: .failed(.tooManyConcurrent)])
    pool.begin(1)
    pool.advance(.seconds(1), tokens: [1: 50])
    func used() -> UsageLedger.Usage { pool.dispatch.usage.usage(of: "eva", at: pool.now) }
    #expect(used() == UsageLedger.Usage(requests: 2, tokens: 70))
    pool.end(1, questionTokens: 20, tokens: 400)
    #expect(used() == UsageLedger.Usage(requests: 2, tokens: 430))
    pool.arrive(4, share: limits)
    pool.end(4)
    // What could not be computed there is given back.
    pool.end(2, .failed(.upstreamError))
    #expect(used() == UsageLedger.Usage(requests: 2, tokens: 420) && pool.dispatch.openByUser.isEmpty)
    pool.arrive(5, need: .remoteInference, share: limits, tokens: 700)
    pool.end(5)
    pool.arrive(6, need: .remoteInference, share: limits)
    #expect(pool.ended[6] == .failed(.rateLimited))
    // The account there is no inference.
    pool.arrive(7, need: .networkReference, share: limits)
    #expect(pool.started == [1, 2, 4, 5, 7])
  }

  @Test func limitsAreOfEachUserAndOfInference() {
    var pool = PoolUnderTest(instances: 0)
    let one = UserLimits(requestsPerHour: 1, concurrent: 1)
    pool.arrive(1, share: share(one))
    pool.arrive(2, share: share(one, of: "ugo"))
    pool.arrive(3, need: .reference, share: share(one))
    #expect(pool.ended.isEmpty && pool.dispatch.open(of: "eva").total == 1)
  }

  @Test func tokensOfQuestionsAndAnswersCountTogether() {
    var pool = PoolUnderTest(instances: 1)
    let hundred = share(UserLimits(tokensPerHour: 100))
    pool.arrive(1, share: hundred, tokens: 40)
    pool.begin(1)
    pool.end(1, tokens: 59)
    pool.arrive(2, share: hundred, tokens: 40)
    #expect(pool.started == [1, 2])
    pool.arrive(3, share: hundred)
    #expect(pool.ended == [3: .failed(.tokenLimited)])
    #expect(pool.dispatch.standing(of: "eva", hundred.limits, at: pool.now).tokens?.remaining == 0)
  }

  @Test func whatTurnsOutToBeInAQuestionCountsToo() {
    var pool = PoolUnderTest(instances: 1)
    let limits = UserLimits(tokensPerHour: 1000)
    pool.arrive(1, share: share(limits), tokens: 40)
    pool.begin(1)
    func used() -> Int { pool.dispatch.usage.usage(of: "eva", at: pool.now).tokens }
    pool.end(1, questionTokens: 900, tokens: 50)
    #expect(used() == 950)
    // It has counted less: it knew a part already.
    pool.arrive(2, share: share(limits), tokens: 40)
    pool.begin(2)
    pool.end(2, questionTokens: 3)
    #expect(used() == 990)
    // What fails is given back with all that was found out.
    pool.arrive(3, share: share(limits), tokens: 5)
    pool.end(3, .failed(.noAnswer), questionTokens: 700)
    #expect(used() == 990)
  }

  @Test func eachUsersRequestsAreFoundWithoutThoseOfOthers() {
    var pool = PoolUnderTest(instances: 1)
    for number: UInt64 in 1...6 { pool.arrive(number, share: share(UserLimits(), of: number < 4 ? "eva" : "ugo")) }
    func ids(_ user: UserID) -> [UInt64] { pool.dispatch.index.of(user).elements.map(\.number) }
    pool.end(1)
    _ = pool.dispatch.suspend(RequestID(5), at: pool.now)
    #expect(ids("eva") == [2, 3] && ids("ugo") == [4, 5, 6] && ids("ada") == [])
    for number: UInt64 in 2...6 { pool.perform(pool.dispatch.cancel(RequestID(number), at: pool.now) ?? []) }
    #expect(pool.dispatch.index.userCount == 0 && pool.dispatch.index.all.isEmpty)
  }

  @Test func asManyAreOpenAndWaitAsMayAndWhatStartsAtOnceDoesNotWait() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    let limits = share(UserLimits(concurrent: 4, waiting: 1))
    for number: UInt64 in 1...4 { pool.arrive(number, share: limits) }
    #expect(pool.started == [1, 2] && pool.ended == [4: .failed(.tooManyWaiting)])
    pool.end(1)
    #expect(pool.started == [1, 2, 3])
    pool.arrive(5, share: limits)
    pool.end(2)
    pool.arrive(6, share: limits)
    pool.end(3)
    #expect(pool.started == [1, 2, 3, 5, 6])
    let three = share(UserLimits(concurrent: 2))
    pool.arrive(7, share: three)
    #expect(pool.ended[7] == .failed(.tooManyConcurrent) && pool.retryAfter[7] == .seconds(5))
    pool.end(5)
    pool.end(6)
    #expect(pool.dispatch.open(of: "eva").total == 0 && pool.dispatch.openByUser.isEmpty)
  }

  @Test func whatThePoolCannotServeCostsNothing() {
    var limits = DispatchLimits()
    limits.waitingRequests = 1
    limits.maximumWait = .seconds(20)
    var pool = PoolUnderTest(instances: 0, limits: limits)
    let two = share(UserLimits(requestsPerHour: 2, tokensPerHour: 100))
    func used() -> UsageLedger.Usage { pool.dispatch.usage.usage(of: "eva", at: pool.now) }
    pool.arrive(1, share: two, tokens: 30)
    #expect(used() == UsageLedger.Usage(requests: 1, tokens: 30))
    pool.arrive(2, share: two, tokens: 30)
    #expect(pool.ended[2] == .failed(.queueFull) && used() == UsageLedger.Usage(requests: 1, tokens: 30))
    pool.advance(.seconds(20))
    #expect(pool.ended[1] == .expired && used() == UsageLedger.Usage())
    // Its own user's cancellation is none of the pool's.
    pool.arrive(3, share: two, tokens: 30)
    pool.end(3, .cancelled)
    #expect(used() == UsageLedger.Usage(requests: 1, tokens: 30))
  }

  @Test func whatFailsBeforeItsAnswerIsGivenBackAndWhatBeganIsNot() {
    var pool = PoolUnderTest(instances: 2)
    let share = share(UserLimits(requestsPerHour: 5))
    for number: UInt64 in 1...3 { pool.arrive(number, share: share, tokens: 10) }
    pool.begin(1)
    pool.begin(2, status: 500)
    pool.end(2, .failed(.upstreamError))
    pool.set(session: 1, order: [])
    // One was cut in the middle, one is put back.
    #expect(pool.ended[1] == .failed(.instanceLost) && pool.dispatch.depth == 1)
    #expect(pool.dispatch.usage.usage(of: "eva", at: pool.now) == UsageLedger.Usage(requests: 2, tokens: 20))
  }

  @Test func usageIsKeptOverARestart() {
    var pool = PoolUnderTest(instances: 1)
    let two = share(UserLimits(requestsPerHour: 2))
    for number: UInt64 in 1...2 { pool.arrive(number, share: two, tokens: 10) }
    let kept = pool.dispatch.takeUsageChanges()
    #expect(kept == [UsageLedger.Entry(user: "eva", minute: 0, requests: 2, tokens: 20)])
    #expect(pool.dispatch.takeUsageChanges().isEmpty)
    var next = PoolUnderTest(instances: 1)
    next.dispatch.restoreUsage(kept, at: next.now)
    next.arrive(3, share: two)
    #expect(next.ended[3] == .failed(.rateLimited) && next.dispatch.takeUsageChanges().isEmpty)
  }
}
