import PoolCore
import Testing

/// Requests whose clients are away.
@Suite struct SuspensionTests {
  private func suspend(_ number: UInt64, in pool: inout PoolUnderTest, tokens: Int = 0) {
    pool.perform(pool.dispatch.suspend(RequestID(number), tokens: tokens, at: pool.now) ?? [])
  }

  private func resume(_ number: UInt64, in pool: inout PoolUnderTest) {
    pool.perform(pool.dispatch.resume(RequestID(number), at: pool.now) ?? [])
  }

  private func position(_ number: UInt64, in pool: PoolUnderTest) -> Int? {
    var dispatch = pool.dispatch
    return dispatch.estimate(for: RequestID(number), at: pool.now)?.position
  }

  @Test func othersMoveUpAndItComesBackWhereItStood() {
    var pool = PoolUnderTest(instances: 1)
    for number: UInt64 in 1...4 { pool.arrive(number) }
    suspend(2, in: &pool)
    #expect(pool.dispatch.depth == 2 && pool.dispatch.observation(at: pool.now).waitingByModel == ["": 2])
    #expect(position(2, in: pool) == nil && position(3, in: pool) == 2)
    resume(2, in: &pool)
    #expect(pool.order == [2, 3, 4] && position(3, in: pool) == 3)
    suspend(2, in: &pool)
    pool.end(1)
    #expect(pool.started == [1, 3])
    resume(2, in: &pool)
    pool.end(3)
    #expect(pool.started == [1, 3, 2] && pool.dispatch.suspendedCount == 0)
  }

  @Test func whatRunsGivesItsSlotBackAndIsTheNextAgain() {
    var pool = PoolUnderTest(instances: 1)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    pool.begin(1)
    suspend(1, in: &pool, tokens: 50)
    #expect(pool.withdrawn == [1] && pool.started == [1, 2])
    resume(1, in: &pool)
    #expect(pool.order == [1, 3])
    pool.end(2)
    #expect(pool.started == [1, 2, 1])
    // It was no failed attempt: another try is as before.
    #expect(pool.dispatch.requests[RequestID(1)]?.failedOn == [])
    pool.begin(1)
    pool.end(1)
    #expect(pool.started == [1, 2, 1, 3] && pool.ended.isEmpty)
  }

  @Test func theMaximumWaitDoesNotRunMeanwhile() {
    var limits = DispatchLimits()
    limits.maximumWait = .seconds(20)
    var pool = PoolUnderTest(instances: 0, limits: limits)
    pool.arrive(1)
    pool.advance(.seconds(15))
    suspend(1, in: &pool)
    pool.advance(.seconds(100))
    #expect(pool.dispatch.oldestWait(at: pool.now) == nil)
    resume(1, in: &pool)
    #expect(pool.dispatch.oldestWait(at: pool.now) == .seconds(15))
    pool.advance(.seconds(4))
    #expect(pool.ended.isEmpty)
    pool.advance(.seconds(1))
    #expect(pool.ended == [1: .expired])
  }

  @Test func itMayEndWhileItIsAway() {
    var pool = PoolUnderTest(instances: 1)
    for number: UInt64 in 1...4 { pool.arrive(number) }
    for number: UInt64 in 2...4 { suspend(number, in: &pool) }
    pool.perform(pool.dispatch.cancel(RequestID(2), at: pool.now) ?? [])
    pool.end(3, .cancelled)
    pool.perform(pool.dispatch.drain(until: pool.now + .seconds(60), at: pool.now))
    #expect(pool.ended == [2: .cancelled, 4: .failed(.shuttingDown)])
    pool.end(1)
    #expect(pool.reports.contains(.drained) && pool.dispatch.openByUser.isEmpty && pool.dispatch.suspendedCount == 0)
    #expect(pool.dispatch.resume(RequestID(2), at: pool.now) == nil)
    #expect(pool.dispatch.suspend(RequestID(2), at: pool.now) == nil)
  }

  @Test func whatHadWaitedForTooLongEndsAsItsClientComesBack() {
    var limits = DispatchLimits()
    limits.maximumWait = .seconds(10)
    var pool = PoolUnderTest(instances: 1, limits: limits)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    pool.now = pool.now + .seconds(9)
    suspend(2, in: &pool)
    pool.now = pool.now + .seconds(1)
    // Nobody has looked yet.
    suspend(3, in: &pool)
    pool.now = pool.now + .seconds(100)
    for number: UInt64 in [2, 3] { resume(number, in: &pool) }
    #expect(pool.ended == [3: .expired] && pool.order == [2])
  }

  @Test func noLimitCountsItAndOfTooManyTheOldestEnd() {
    var limits = DispatchLimits()
    limits.waitingRequests = 30
    var pool = PoolUnderTest(instances: 0, limits: limits)
    let one = DispatchRequest.Share(user: "eva", limits: UserLimits(concurrent: 1, waiting: 1))
    for number: UInt64 in 1...22 {
      pool.arrive(number, share: one)
      suspend(number, in: &pool)
    }
    #expect(pool.ended == [1: .cancelled, 2: .cancelled] && pool.dispatch.suspendedCount == 20)
    pool.arrive(23, share: one)
    pool.arrive(24, share: one)
    #expect(pool.ended[23] == nil && pool.ended[24] == .failed(.tooManyConcurrent))
    // What was accepted may come back.
    resume(3, in: &pool)
    #expect(pool.order == [3, 23] && pool.dispatch.open(of: "eva").total == 2)
    // Of all there are no more than may wait: here the one that would be one too many ends.
    for number: UInt64 in 31...42 {
      pool.arrive(number, share: DispatchRequest.Share(user: UserID("\(number)")))
      suspend(number, in: &pool)
    }
    #expect(pool.dispatch.suspendedCount == 30 && pool.ended[42] == .cancelled && pool.ended[41] == nil)
    resume(31, in: &pool)
    #expect(pool.order == [3, 23, 31])
  }

  @Test func durableRequestsOfAnEarlierLifeKeepTheirOrderAndCountOnce() {
    var pool = PoolUnderTest(instances: 0)
    let two = DispatchRequest.Share(user: "eva", limits: UserLimits(requestsPerHour: 2))
    for number: UInt64 in [3, 5, 8] {
      let request = DispatchRequest(id: RequestID(number), share: two)
      pool.perform(pool.dispatch.restore(request, isSuspended: number == 3, at: pool.now))
    }
    pool.arrive(9, share: two)
    #expect(pool.order == [5, 8, 9] && pool.ended.isEmpty)
    resume(3, in: &pool)
    #expect(pool.order == [3, 5, 8, 9])
    #expect(pool.dispatch.usage.usage(of: "eva", at: pool.now).requests == 1)
  }

  @Test func anOperatorMovesWhatWaits() {
    var pool = PoolUnderTest(instances: 1)
    for number: UInt64 in 1...4 { pool.arrive(number, share: DispatchRequest.Share(priority: 1)) }
    #expect(pool.dispatch.setPriority(RequestID(4), 0, at: pool.now) == .changed)
    #expect(pool.dispatch.setPriority(RequestID(2), 7, at: pool.now) == .changed)
    #expect(pool.order == [4, 3, 2])
    #expect(pool.dispatch.setPriority(RequestID(1), 0, at: pool.now) == .notWaiting)
    #expect(pool.dispatch.setPriority(RequestID(9), 0, at: pool.now) == .unknown)
    suspend(2, in: &pool)
    #expect(pool.dispatch.setPriority(RequestID(2), -5, at: pool.now) == .changed)
    resume(2, in: &pool)
    #expect(pool.order == [2, 4, 3])
  }
}
