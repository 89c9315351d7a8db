import Foundation
import PoolCore
import Testing

@Suite struct WaitingEstimateTests {
  private func times(_ seconds: Double...) -> ServiceTimes {
    var times = ServiceTimes()
    for time in seconds { times.add(.seconds(rounding: time), isCrowded: true) }
    return times
  }

  @Test func theFirstBehindBusySlotsIsSecondHoweverManySlotsThereAre() {
    for slots in [1, 4] {
      let first = WaitingEstimate(ahead: 0, .init(slots: slots), times(20, 20))
      #expect(first.position == 2 && first.wait == .seconds(20 / slots))
      #expect((1.02..<1.03).contains(first.wait90 / first.wait), "the same time each time, but for a little")
      let third = WaitingEstimate(ahead: 2, .init(slots: slots), times(20, 20))
      #expect(third.position == 4 && third.wait == .seconds(60 / slots))
    }
  }

  @Test func behindAColdStartAloneItIsFirstAsManyAsThereWillBeSlots() {
    let start = WaitingEstimate.Capacity(slots: 0, pending: [.init(slots: 2, startUp: .seconds(8))])
    let estimates = (0..<4).map { WaitingEstimate(ahead: $0, start, times(10, 10)) }
    #expect(estimates.map(\.position) == [1, 1, 2, 3])
    #expect(estimates.map(\.wait) == [8, 8, 13, 18].map { .seconds($0) })
    // Asleep: one will be started.
    let asleep = WaitingEstimate(
      ahead: 1, .init(slots: 0, pending: [.init(slots: 1, startUp: .seconds(20))]), times(10, 10))
    #expect(asleep.position == 2 && asleep.wait == .seconds(30))
  }

  @Test func beforeAnyExperienceItIsAGuess() {
    let guess = WaitingEstimate(ahead: 0, .init(slots: 1), ServiceTimes())
    #expect(guess.isGuess && guess.wait == .seconds(35) && guess.wait90 > .seconds(70))
    #expect(!WaitingEstimate(ahead: 0, .init(slots: 1), times(1)).isGuess)
  }

  @Test func theLastThreeHundredCount() {
    var times = ServiceTimes()
    for _ in 0..<300 { times.add(.seconds(1000), isCrowded: true) }
    for _ in 0..<300 { times.add(.seconds(2), isCrowded: true) }
    #expect(times.mean == .seconds(2) && times.deviation == .zero)
  }

  @Test func thoseThatEndedWhileOthersWaitedCountMost() {
    var times = ServiceTimes()
    for number in 0..<600 { times.add(.seconds(number < 300 ? 20 : 5), isCrowded: number < 300) }
    // 300 of 20 s, and 30 for all of the last ones.
    #expect(abs(times.mean.seconds - (300 * 20 + 30 * 5) / 330.0) < 1e-6)
  }

  @Test func anInstanceThatComesTakesFromTheWait() {
    // Two slots of 10 s each, and two more in 8 s.
    let capacity = WaitingEstimate.Capacity(slots: 2, pending: [.init(slots: 2, startUp: .seconds(8))])
    let waits = (0..<6).map { WaitingEstimate(ahead: $0, capacity, times(10, 10)).wait.seconds }
    // 1.6 of the openings come before the two new ones, then 0.4 each second.
    let expected = [5, 8, 8, 8 + 0.4 / 0.4, 8 + 1.4 / 0.4, 8 + 2.4 / 0.4]
    for (wait, expected) in zip(waits, expected) { #expect(abs(wait - expected) < 1e-6) }
    #expect((0..<6).map { WaitingEstimate(ahead: $0, capacity, times(10, 10)).position } == [2, 3, 4, 5, 6, 7])
  }

  @Test func whatMayTakeLongerToStartMovesTheUpperEnd() {
    let pending = WaitingEstimate.Capacity.Pending(slots: 1, startUp: .seconds(8), startUp90: .seconds(20))
    let estimate = WaitingEstimate(ahead: 0, .init(slots: 0, pending: [pending]), times(10, 10))
    #expect(estimate.wait == .seconds(8) && abs(estimate.wait90.seconds - 20) < 1e-6)
  }

  @Test func instancesThatComeOneAfterTheOtherAreAllCounted() {
    let capacity = WaitingEstimate.Capacity(
      slots: 0, pending: [.init(slots: 1, startUp: .seconds(10)), .init(slots: 1, startUp: .seconds(12))])
    let waits = (0..<4).map { WaitingEstimate(ahead: $0, capacity, times(10, 10)).wait.seconds }
    // At 10 s the first; at 12 s the second, when 0.2 of a departure is over; then one each 5 s.
    for (wait, expected) in zip(waits, [10, 12, 16, 21] as [Double]) { #expect(abs(wait - expected) < 1e-6) }
  }

  @Test func nineOfTenWaitNoLongerThanSaid() {
    // Times as answers have them: some are much longer than others.
    var random = Numbers(seed: 11)
    func draw() -> Double { -20 * log(Double.random(in: 0.000_001...1, using: &random)) }
    var times = ServiceTimes()
    for _ in 0..<300 { times.add(.seconds(rounding: draw()), isCrowded: true) }
    for (ahead, slots) in [(0, 1), (3, 1), (9, 4), (40, 8)] {
      let estimate = WaitingEstimate(ahead: ahead, .init(slots: slots), times)
      var within = 0
      for _ in 0..<2000 {
        // What runs has no memory, so its rest is as long as a whole one.
        var free = (0..<slots).map { _ in draw() }
        var started = 0.0
        for _ in 0...ahead {
          let next = free.indices.min { free[$0] < free[$1] } ?? 0
          started = free[next]
          free[next] += draw()
        }
        if started <= estimate.wait90.seconds { within += 1 }
      }
      #expect((1700...1960).contains(within), "\(ahead) before, \(slots) slots: \(within)")
    }
  }
}

/// What of a pool counts for the estimate of one that waits in it.
@Suite struct EstimateTests {
  private func position(_ number: UInt64, in pool: PoolUnderTest) -> Int? {
    var dispatch = pool.dispatch
    return dispatch.estimate(for: RequestID(number), at: pool.now)?.position
  }

  @Test func aDrainingInstanceIsNoCapacity() {
    var pool = PoolUnderTest(instances: 2, slots: 1, roles: [.core, .draining])
    for number: UInt64 in 1...3 { pool.arrive(number) }
    #expect(position(1, in: pool) == nil && position(2, in: pool) == 2 && position(3, in: pool) == 3)
    let estimate = pool.dispatch.estimate(for: RequestID(3), at: pool.now)
    #expect(estimate?.wait == .seconds(70) && estimate?.isGuess == true)
  }

  @Test func aServedRequestIsTheNextOnesExperience() {
    var pool = PoolUnderTest(instances: 1, slots: 1)
    for number: UInt64 in 1...3 { pool.arrive(number) }
    pool.advance(.seconds(6))
    pool.end(1, tokens: 10)
    let estimate = pool.dispatch.estimate(for: RequestID(3), at: pool.now)
    #expect(estimate?.wait == .seconds(6) && estimate?.isGuess == false)
  }

  @Test func onlyAStartThatWasSeenTellsHowLongOneTakes() {
    // A dispatcher that begins anew meets instances that have run for long.
    for (isSeen, wait) in [(true, 8), (false, 20)] {
      var dispatch = Dispatch()
      let wanted = WantedInstance(
        id: "gpu0", invocation: "i0", address: "127.0.0.1:11500", slots: 1, models: [], writesStore: nil, role: .core)
      _ = dispatch.setInstances(WantedSet([wanted], models: nil), session: 1, at: .zero)
      if isSeen { _ = dispatch.probeEnded("gpu0", "i0", .missed, at: .zero) }
      let later = Instant.zero + .seconds(8)
      _ = dispatch.probeEnded("gpu0", "i0", .answered, at: later)
      #expect(dispatch.maxConcurrent == 1)
      _ = dispatch.setInstances(WantedSet([], models: nil), session: 1, at: later)
      _ = dispatch.arrive(DispatchRequest(id: RequestID(1)), at: later)
      let estimate = dispatch.estimate(for: RequestID(1), at: later)
      #expect(estimate?.position == 1 && estimate?.wait == .seconds(wait) && estimate?.isGuess == !isSeen)
    }
  }

  @Test func whoWaitsForOtherInstancesIsNotBefore() {
    var pool = PoolUnderTest(instances: 2, slots: 1, models: [["a"], ["b"]])
    for (number, model) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b")] as [(UInt64, String)] {
      pool.arrive(number, model)
    }
    #expect([2, 3, 5].map { position($0, in: pool) } == [2, 3, 2])
    let told = pool.dispatch.estimates(at: pool.now)
    #expect(Dictionary(uniqueKeysWithValues: told.map { ($0.id.number, $0.estimate.position) }) == [2: 2, 3: 3, 5: 2])
    for (id, estimate) in told { #expect(pool.dispatch.estimate(for: id, at: pool.now) == estimate) }
  }

  @Test func theNextRequestsPlaceIsThatOfItsUsersTurn() {
    var limits = DispatchLimits()
    limits.isFair = true
    var pool = PoolUnderTest(instances: 1, slots: 1, limits: limits)
    let crowd = DispatchRequest.Share(user: "crowd")
    for number: UInt64 in 1...10 { pool.arrive(number, share: crowd, tokens: 100) }
    pool.arrive(11, share: DispatchRequest.Share(user: "eva"), tokens: 100)
    func next(_ user: UserID, priority: Int = 0) -> Int {
      let share = DispatchRequest.Share(user: user, priority: priority)
      return pool.dispatch.estimateForNext(of: share, at: pool.now).position
    }
    #expect(next("ugo") == 4 && next("eva") == 5 && next("crowd") == 12 && next("ugo", priority: 1) == 12)
    for (number, user) in [(12, "ugo"), (13, "eva")] as [(UInt64, UserID)] {
      let told = next(user)
      pool.arrive(number, share: DispatchRequest.Share(user: user), tokens: 100)
      #expect(position(number, in: pool) == told)
      pool.end(number, .cancelled)
    }
  }
}
