import OrderedCollections
import PoolCore
import Testing

@Suite struct DispatchTests {
  @Test func oneSlotServesOneAfterTheOtherInTheOrderOfArrival() {
    var pool = PoolUnderTest(instances: 1)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    #expect(pool.started == [1])
    #expect(pool.dispatch.estimate(for: RequestID(3), at: pool.now)?.position == 3)
    pool.end(1)
    #expect(pool.started == [1, 2])
    pool.end(2)
    #expect(pool.started == [1, 2, 3])
  }

  @Test func theLeastBusyInstanceServesNextAndSurplusOnlyWhenTheCoreIsFull() {
    var pool = PoolUnderTest(instances: 3, slots: 2, roles: [.core, .core, .surplus])
    for number: UInt64 in 1...6 { pool.arrive(number) }
    #expect(pool.places == ["gpu0", "gpu1", "gpu0", "gpu1", "gpu2", "gpu2"])
    #expect(pool.dispatch.maxConcurrent == 6)
  }

  @Test func drainingInstancesGetNothingAndDoNotCount() {
    var pool = PoolUnderTest(instances: 2, roles: [.draining, .core])
    #expect(pool.dispatch.maxConcurrent == 1)
    pool.arrive(1)
    pool.arrive(2)
    #expect(pool.places == ["gpu1"])
  }

  @Test func aRefusedAttemptGoesElsewhereFromTheHeadOfTheQueue() {
    var pool = PoolUnderTest(instances: 2)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    #expect(pool.fail(1, .refused) == .wait)
    // gpu0 is believed dead, gpu1 is busy: request 1 waits before request 3.
    #expect(pool.dispatch.queue.waiting.map(\.number) == [1, 3])
    pool.end(2)
    #expect(pool.places == ["gpu0", "gpu1", "gpu1"])
    #expect(pool.started == [1, 2, 1])
  }

  @Test func anAttemptIsMadeThreeTimesAtMost() {
    var pool = PoolUnderTest(instances: 3)
    pool.arrive(1)
    #expect(pool.fail(1, .broken) == .wait)
    #expect(pool.fail(1, .broken) == .wait)
    #expect(pool.fail(1, .broken) == .fail(.attemptsExhausted))
    #expect(Set(pool.places).count == 3)
    #expect(pool.dispatch.requests.isEmpty)
    #expect(pool.dispatch.inFlight == 0)
  }

  @Test func anErrorIsPassedOnWhereNobodyElseCouldServe() {
    var pool = PoolUnderTest(instances: 1)
    pool.arrive(1)
    #expect(pool.fail(1, .status(500)) == .passOn)
    #expect(pool.dispatch.inFlight == 1)
    pool.end(1, .failed(.upstreamError))
    #expect(pool.dispatch.inFlight == 0)
  }

  @Test func retiringIsAtomic() {
    var pool = PoolUnderTest(instances: 1)
    pool.arrive(1)
    #expect(pool.retire("gpu0", "i0") == .busy)
    pool.end(1)
    #expect(pool.retire("gpu0", "stale") == .unknown)
    #expect(pool.retire("gpu0", "i0") == .retired)
    pool.arrive(2)
    #expect(pool.started == [1])
    #expect(pool.dispatch.maxConcurrent == 0)
    // The same session cannot take it back; a new supervisor that wants it can.
    pool.set(session: 1)
    #expect(pool.started == [1])
    pool.set(session: 2)
    #expect(pool.started == [1, 2])
  }

  @Test func aReferenceHoldsOffTheRetirementWithoutTakingASlot() {
    var pool = PoolUnderTest(instances: 1)
    pool.arrive(1, need: .storeReference)
    pool.arrive(2)
    #expect(pool.started == [1, 2])
    pool.end(2)
    #expect(pool.retire("gpu0", "i0") == .busy)
    pool.end(1)
    #expect(pool.retire("gpu0", "i0") == .retired)
  }

  @Test func everythingThatChangesTheStoreGoesToOneInstance() {
    var pool = PoolUnderTest(instances: 3)
    pool.arrive(1, need: .storeReference)
    pool.set(session: 1, order: [2, 1, 0])
    pool.arrive(2, need: .storeReference)
    #expect(pool.places == ["gpu0", "gpu0"])
  }

  @Test func whileOneThatDrainsWritesToTheStoreTheNextWriterWaitsAndLetsOthersPast() {
    var pool = PoolUnderTest(instances: 2)
    pool.arrive(1, need: .storeReference)
    #expect(pool.places == ["gpu0"])
    pool.set(session: 1, roles: [0: .draining])
    pool.arrive(2, need: .storeReference)
    pool.arrive(3, need: .reference)
    #expect(pool.started == [1, 3])
    pool.end(1)
    #expect(pool.started == [1, 3, 2])
    #expect(pool.places.last == "gpu1")
  }

  @Test func aWriterGoesWhereTheStoreIsBeingWrittenAlsoIfItFailedThere() {
    var pool = PoolUnderTest(instances: 2)
    pool.arrive(1, need: .storeReference)
    pool.arrive(2, need: .storeReference)
    #expect(pool.fail(2, .broken) == .wait)
    #expect(pool.places == ["gpu0", "gpu0", "gpu0"])
    pool.end(1)
    // Nobody writes any more.
    #expect(pool.fail(2, .broken) == .wait)
    #expect(pool.places.last == "gpu1")
  }

  @Test func theLongestWaitHoldsForAllAndWhatIsRefusedCountsAsCompleted() {
    var limits = DispatchLimits()
    limits.maximumWait = .seconds(20)
    limits.waitingRequests = 2
    var pool = PoolUnderTest(instances: 0, limits: limits)
    pool.arrive(1)
    pool.arrive(2, need: .reference)
    pool.arrive(3)
    #expect(pool.ended == [3: .failed(.queueFull)])
    pool.advance(.seconds(20))
    #expect(pool.ended[1] == .expired && pool.ended[2] == .expired)
    #expect(pool.dispatch.totals.arrivals == 3 && pool.dispatch.totals.completions == 3)
  }

  @Test func onlyWaitingCountsAsWaiting() {
    var limits = DispatchLimits()
    limits.maximumWait = .seconds(20)
    var pool = PoolUnderTest(instances: 1, limits: limits)
    pool.arrive(1)
    pool.advance(.seconds(25))
    pool.arrive(2)
    pool.set(session: 1, order: [])
    #expect(pool.dispatch.queue.waiting.map(\.number) == [1, 2])
    #expect(pool.dispatch.oldestWait(at: pool.now) == .zero)
    pool.advance(.seconds(5))
    pool.arrive(3)
    pool.advance(.seconds(14))
    #expect(pool.ended.isEmpty)
    #expect(pool.dispatch.oldestWait(at: pool.now) == .seconds(19))
    pool.advance(.seconds(1))
    #expect(pool.ended == [1: .expired, 2: .expired])
  }

  @Test func whatWasPutBackDoesNotShieldThoseBehindIt() {
    var limits = DispatchLimits()
    limits.maximumWait = .seconds(20)
    var pool = PoolUnderTest(instances: 1, limits: limits)
    pool.arrive(1)
    pool.arrive(2)
    pool.advance(.seconds(15))
    pool.set(session: 1, order: [])
    #expect(pool.dispatch.oldestWait(at: pool.now) == .seconds(15))
    pool.advance(.seconds(5))
    #expect(pool.ended == [2: .expired])
    pool.advance(.seconds(15))
    #expect(pool.ended == [1: .expired, 2: .expired])
  }

  @Test func anInstanceCountsOnlyOnceItsModelsAreLoaded() {
    var limits = DispatchLimits()
    limits.preload = ["a", "b"]
    var pool = PoolUnderTest(instances: 1, limits: limits)
    #expect(pool.dispatch.maxConcurrent == 0)
    #expect(pool.loads == ["a"])
    pool.loaded("a")
    #expect(pool.loads == ["a", "b"])
    pool.loaded("b")
    #expect(pool.dispatch.maxConcurrent == 1)
  }

  @Test func aFullQueueRefuses() {
    var limits = DispatchLimits()
    limits.waitingRequests = 2
    var pool = PoolUnderTest(instances: 0, limits: limits)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    #expect(pool.ended == [3: .failed(.queueFull)])
    #expect(pool.dispatch.depth == 2)
  }

  @Test func aFullQueueRefusesNothingThatAnInstanceTakesAtOnce() {
    var limits = DispatchLimits()
    limits.waitingRequests = 1
    var pool = PoolUnderTest(instances: 1, limits: limits)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    pool.arrive(4, need: .reference)
    pool.arrive(5, need: .storeReference)
    #expect(pool.started == [1, 4, 5])
    #expect(pool.ended == [3: .failed(.queueFull)])
  }

  @Test func whatIsAbsentFromTheSetIsDeregisteredWithItsRequests() {
    var pool = PoolUnderTest(instances: 2)
    pool.arrive(1)
    pool.arrive(2)
    pool.begin(2)
    pool.set(session: 1, order: [])
    #expect(pool.withdrawn == [1])
    #expect(pool.ended == [2: .failed(.instanceLost)])
    #expect(pool.dispatch.depth == 1)
  }

  @Test func drainingRefusesTheWaitingAndCutsTheRunningAtTheDeadline() {
    var pool = PoolUnderTest(instances: 1)
    for number: UInt64 in 1...2 { pool.arrive(number) }
    pool.perform(pool.dispatch.drain(until: pool.now + .seconds(60), at: pool.now))
    #expect(pool.ended == [2: .failed(.shuttingDown)])
    pool.arrive(3)
    #expect(pool.ended[3] == .failed(.shuttingDown))
    pool.advance(.seconds(60))
    #expect(pool.ended[1] == .failed(.shuttingDown))
    #expect(pool.reports.contains(.drained))
  }

  @Test func anOperatorMayCancelWhatWaitsAndWhatRuns() {
    var pool = PoolUnderTest(instances: 1)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    pool.perform(pool.dispatch.cancel(RequestID(2), at: pool.now) ?? [])
    pool.perform(pool.dispatch.cancel(RequestID(1), at: pool.now) ?? [])
    #expect(pool.ended == [1: .cancelled, 2: .cancelled])
    #expect(pool.started == [1, 3])
    #expect(pool.dispatch.cancel(RequestID(9), at: pool.now) == nil)
  }

  @Test func whereAgeLiftsARequestIsTold() {
    var limits = DispatchLimits()
    limits.aging = .seconds(100)
    var pool = PoolUnderTest(instances: 1, limits: limits)
    pool.arrive(1)
    pool.arrive(2, share: DispatchRequest.Share(user: "b", priority: 2))
    pool.advance(.seconds(99), progress: [1: .zero])
    #expect(pool.lifted == [:])
    pool.advance(.seconds(1), progress: [1: .zero])
    #expect(pool.lifted == [2: 1])
    pool.advance(.seconds(100), progress: [1: .zero])
    #expect(pool.lifted == [2: 0])
  }
}
