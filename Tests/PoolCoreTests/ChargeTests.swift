import Testing

@testable import PoolCore

/// What users are charged, and when.
@Suite struct ChargeTests {
  private func pool(slots: Int = 1) -> PoolUnderTest {
    var limits = DispatchLimits()
    limits.isFair = true
    return PoolUnderTest(instances: 1, slots: slots, limits: limits)
  }

  private func share(_ user: UserID) -> DispatchRequest.Share { DispatchRequest.Share(user: user) }

  /// Of two users whose requests run, the one that had less is next.
  private func next(after ending: (inout PoolUnderTest) -> Void) -> UInt64? {
    var pool = pool(slots: 2)
    pool.arrive(1, share: share("a"), tokens: 100)
    pool.arrive(2, share: share("b"), tokens: 100)
    for number: UInt64 in 1...2 { pool.begin(number) }
    pool.arrive(3, share: share("a"), tokens: 100)
    pool.arrive(4, share: share("b"), tokens: 100)
    ending(&pool)
    return pool.order.first ?? pool.started.last
  }

  @Test func aStreamIsChargedWhatItHasHadWhateverBecomesOfIt() {
    // b has 200 tokens; a ends with more, in every way in which it may.
    let endings: [(inout PoolUnderTest) -> Void] = [
      { pool in pool.end(1, .cancelled, tokens: 300) },
      { pool in pool.end(1, .failed(.truncated), tokens: 300) },
      { pool in pool.perform(pool.dispatch.cancel(RequestID(1), tokens: 300, at: pool.now) ?? []) },
      { pool in pool.perform(pool.dispatch.suspend(RequestID(1), tokens: 300, at: pool.now) ?? []) },
    ]
    for (number, ending) in endings.enumerated() {
      let started = next { pool in
        pool.advance(.seconds(1), tokens: [1: 10, 2: 200])
        ending(&pool)
        #expect(pool.started.last == 4, "\(number)")
      }
      #expect(started == 3, "\(number)")
    }
    // With less, a is next.
    _ = next { pool in
      pool.advance(.seconds(1), tokens: [1: 10, 2: 200])
      pool.end(1, .cancelled, tokens: 20)
      #expect(pool.started.last == 3)
    }
  }

  @Test func anEvictedStreamIsChargedWhatTheLastTickSaw() {
    var pool = pool(slots: 2)
    pool.arrive(1, share: share("a"), tokens: 100)
    pool.begin(1)
    pool.arrive(2, share: share("b"), tokens: 100)
    pool.advance(.seconds(1), tokens: [1: 800])
    pool.set(session: 1, order: [])
    #expect(pool.ended == [1: .failed(.instanceLost)])
    for number: UInt64 in 3...4 { pool.arrive(number, share: share("b"), tokens: 100) }
    pool.arrive(5, share: share("a"), tokens: 100)
    // With the mean alone it would be before 4.
    #expect(pool.order == [2, 3, 4, 5])
    #expect(pool.dispatch.usage.usage(of: "a", at: pool.now).tokens == 1000)
  }

  @Test func aLongAnswerIsChargedWhileItRuns() {
    var pool = pool(slots: 2)
    pool.arrive(1, share: share("a"), tokens: 100)
    pool.arrive(2, share: share("b"), tokens: 100)
    for number: UInt64 in 1...2 { pool.begin(number) }
    pool.arrive(3, share: share("a"), tokens: 100)
    pool.arrive(4, share: share("b"), tokens: 100)
    #expect(pool.order == [3, 4])
    pool.advance(.seconds(1), tokens: [1: 400, 2: 10])
    #expect(pool.order == [4, 3])
    pool.advance(.seconds(1), tokens: [1: 410, 2: 900])
    #expect(pool.order == [3, 4])
  }

  @Test func whatFailsThroughThePoolCostsNothing() {
    var pool = pool()
    pool.arrive(1, share: share("a"), tokens: 5000)
    pool.arrive(2, share: share("b"), tokens: 100)
    pool.arrive(3, share: share("a"), tokens: 100)
    #expect(pool.order == [2, 3])
    // There was no answer, so it had nothing.
    pool.end(1, .failed(.instanceLost))
    #expect(pool.started == [1, 3] && pool.order == [2])
  }

  @Test func whatWasAnsweredWithAnErrorTaughtNothing() {
    var pool = pool()
    pool.arrive(1, share: share("a"))
    pool.begin(1, status: 404)
    pool.end(1, .served, tokens: 700)
    #expect(pool.dispatch.serviceTimes.isAssumed && pool.dispatch.usage.usage(of: "a", at: pool.now).tokens == 0)
    pool.arrive(2, share: share("a"))
    pool.begin(2)
    pool.end(2, .failed(.truncated), tokens: 700)
    #expect(pool.dispatch.serviceTimes.isAssumed && pool.dispatch.usage.usage(of: "a", at: pool.now).tokens == 700)
    pool.arrive(3, share: share("a"))
    pool.begin(3)
    pool.end(3, .served, tokens: 5)
    #expect(!pool.dispatch.serviceTimes.isAssumed)
  }

  @Test func fairnessThatIsSwitchedOnAndOffCountsAsIfItHadAlwaysBeenSo() {
    func run(_ toggles: Bool) -> [UInt64] {
      var pool = pool(slots: 2)
      if toggles { pool.dispatch.limits.isFair = false }
      pool.arrive(1, share: share("a"), tokens: 900)
      pool.arrive(2, share: share("b"), tokens: 100)
      for (number, user) in [(3, "a"), (4, "a"), (5, "b"), (6, "c")] as [(UInt64, UserID)] {
        pool.arrive(number, share: share(user), tokens: 100)
      }
      if toggles {
        #expect(pool.order == [3, 4, 5, 6])
        pool.dispatch.limits.isFair = true
        pool.dispatch.limits.isFair = false
        #expect(pool.order == [3, 4, 5, 6])
        pool.dispatch.limits.isFair = true
      }
      pool.begin(1)
      pool.begin(2)
      pool.end(1, tokens: 0)
      pool.end(2, tokens: 0)
      return Array(pool.started.prefix(4)) + pool.order
    }
    // c had nothing, b had 100, a had 900.
    #expect(run(true) == [1, 2, 6, 5, 3, 4])
    #expect(run(false).last == 4)
  }

  @Test func whatUsersHaveHadOutlivesAReload() {
    var order = ServiceOrder()
    func come(_ number: UInt64, _ user: UserID, _ tokens: Int) {
      order.append(
        DispatchRequest(id: RequestID(number), model: "m", share: share(user), inputTokens: tokens), at: .zero)
    }
    come(1, "a", 900)
    come(2, "b", 100)
    order.callUp(RequestID(1))
    come(3, "b", 100)
    come(4, "a", 100)
    come(5, "c", 100)
    order.remove(RequestID(1), .tokens(0))
    order.callUp(RequestID(2))
    // a has had 900, b 100, c nothing. One of b's is running.
    func waiting() -> [UInt64] { order.waiting.map(\.number) }
    #expect(waiting() == [5, 3, 4])
    var changed = share("c")
    changed.weight = 2
    order.reclassify({ $0 == RequestID(5) ? changed : nil }, at: .zero)
    #expect(waiting() == [5, 3, 4])
    // What b's takes in the end counts as before: 100 and twice 500.
    order.remove(RequestID(2), .tokens(500))
    #expect(waiting() == [5, 4, 3])
    // Whoever is new comes among the others, and not before them.
    come(6, "d", 100)
    #expect(waiting() == [5, 6, 4, 3])
    order.callUp(RequestID(5))
    order.callUp(RequestID(6))
    come(7, "e", 100)
    var (e, f) = (share("e"), share("f"))
    (e.priority, f.priority) = (1, 1)
    order.append(DispatchRequest(id: RequestID(8), model: "m", share: f), at: .zero)
    order.reclassify({ $0 == RequestID(7) ? e : nil }, at: .zero)
    #expect(waiting() == [4, 3, 7, 8])
    (e.priority, f.priority) = (0, 0)
    order.reclassify({ [RequestID(7): e, RequestID(8): f][$0] }, at: .zero)
    #expect(waiting() == [4, 7, 8, 3])
  }

  @Test func newWeightsCountForWhatIsOpen() {
    var pool = pool()
    pool.arrive(1, share: share("x"), tokens: 100)
    for number: UInt64 in 2...4 { pool.arrive(number, share: share("a"), tokens: 100) }
    for number: UInt64 in 5...7 { pool.arrive(number, share: share("b"), tokens: 100) }
    #expect(pool.order == [2, 5, 3, 6, 4, 7])
    let requests = pool.dispatch.requests
    pool.perform(
      pool.dispatch.reclassify(
        { id in
          var share = requests[id]?.request.share
          if share?.user == "b" { share?.weight = 4 }
          return share
        }, at: pool.now))
    #expect(pool.order == [2, 5, 6, 7, 3, 4])
  }

  @Test(arguments: [(555, [4, 3]), (570, [3, 4])] as [(Int, [UInt64])])
  func whatRanTwiceIsChargedTwice(tokens: Int, expected: [UInt64]) {
    var order = ServiceOrder()
    for (number, user) in [(1, "a"), (2, "b"), (3, "a"), (4, "b")] as [(UInt64, UserID)] {
      order.append(DispatchRequest(id: RequestID(number), share: share(user), inputTokens: 100), at: .zero)
    }
    for number: UInt64 in 1...2 { order.callUp(RequestID(number)) }
    // b has 100 and twice its tokens; a has 100, twice 300, and once more 100 and twice what is assumed: 1222.
    order.remove(RequestID(2), .tokens(tokens))
    order.suspend(RequestID(1), .tokens(300), at: .zero)
    order.resume(RequestID(1))
    #expect(order.waiting.map(\.number) == [1] + expected)
    order.callUp(RequestID(1))
    order.remove(RequestID(1), .tokens(OutputLengths.assumedMean))
    #expect(order.waiting.map(\.number) == expected)
  }

  @Test func whatIsGivenUpWhileSuspendedIsChargedWhatItHad() {
    var order = ServiceOrder()
    for (number, user) in [(1, "a"), (2, "b"), (3, "a"), (4, "b")] as [(UInt64, UserID)] {
      order.append(DispatchRequest(id: RequestID(number), share: share(user), inputTokens: 100), at: .zero)
    }
    for number: UInt64 in 1...2 { order.callUp(RequestID(number)) }
    order.charge(RequestID(2), tokens: 10)
    order.suspend(RequestID(1), .tokens(5), at: .zero)
    // It will be served once more.
    #expect(order.waiting.map(\.number) == [4, 3])
    order.remove(RequestID(1))
    #expect(order.waiting.map(\.number) == [3, 4])
  }

  @Test func whatWasPutBackIsNoFloorForThoseWhoComeAnew() {
    var order = ServiceOrder()
    func request(_ number: UInt64, _ user: UserID) -> DispatchRequest {
      DispatchRequest(id: RequestID(number), share: share(user), inputTokens: 100)
    }
    order.append(request(1, "a"), at: .zero)
    order.callUp(RequestID(1))
    for number: UInt64 in 2...6 {
      order.append(request(number, "b"), at: .zero)
      order.callUp(RequestID(number))
      order.remove(RequestID(number), .tokens(0))
    }
    order.append(request(7, "b"), at: .zero)
    order.putBack(RequestID(1), at: .zero)
    // b had 500 by now, and so had c, who was away.
    order.append(request(8, "c"), at: .zero)
    order.append(request(9, "c"), at: .zero)
    order.append(request(10, "b"), at: .zero)
    #expect(order.waiting.map(\.number) == [1, 7, 8, 9, 10])
  }

  @Test func whatWaitsForOtherInstancesDelaysNothing() {
    var pool = PoolUnderTest(
      instances: 2, models: [["m"], ["n"]],
      limits: {
        var limits = DispatchLimits()
        limits.isFair = true
        return limits
      }())
    for number: UInt64 in 1...3 { pool.arrive(number, "m", share: share("a"), tokens: 100) }
    pool.arrive(4, "n", share: share("b"), tokens: 100)
    pool.arrive(5, "n", share: share("a"), tokens: 100)
    pool.arrive(6, "n", share: share("b"), tokens: 100)
    #expect(pool.started == [1, 4])
    // Of n the one has had nothing, whatever it has had and waits for of m.
    pool.end(4, tokens: OutputLengths.assumedMean)
    #expect(pool.started == [1, 4, 5])
  }

  /// Which models each instance serves, before and after, and whether the pool of m is the same one.
  private static let changes: [(before: [[String]], after: [[String]], stays: Bool)] = [
    ([["m"], ["n"]], [["a"], ["m"], ["n"]], true), ([["a"], ["m"]], [["m"], ["n"]], true),
    ([["m"]], [["m"], ["n"]], true), ([["m"], ["n"]], [["m"]], true), ([["m"], ["n"]], [["m"], ["n"], ["m"]], true),
    ([["m"], ["n"]], [["m", "n"]], false), ([["m"], ["n"]], [["m"], []], false),
    ([["m", "n"]], [["m"], ["n"]], false),
  ]

  @Test(arguments: changes)
  func whatUsersHaveHadOutlivesAChangeOfOtherPools(before: [[String]], after: [[String]], stays: Bool) {
    var order = ServiceOrder()
    order.pools = Pools(before)
    func come(_ number: UInt64, _ user: UserID, _ tokens: Int) {
      order.append(
        DispatchRequest(id: RequestID(number), model: "m", share: share(user), inputTokens: tokens), at: .zero)
    }
    func waiting() -> [UInt64] { order.waiting.map(\.number) }
    come(1, "a", 900)
    come(2, "b", 100)
    for number: UInt64 in 1...2 {
      order.callUp(RequestID(number))
      order.remove(RequestID(number), .tokens(0))
    }
    come(3, "b", 100)
    come(4, "a", 100)
    come(5, "b", 100)
    order.callUp(RequestID(3))
    // a has had 900; b 100, and what the one that runs is expected to take: 100 and twice 211.
    #expect(waiting() == [5, 4])
    order.pools = Pools(after)
    guard stays else {
      // As if all had been so since these three came.
      #expect(waiting() == [4, 5])
      return
    }
    #expect(waiting() == [5, 4])
    // Who is new comes among the others.
    come(6, "c", 100)
    #expect(waiting() == [5, 6, 4])
    // What runs is charged in the end as before: b has had 100, 100 and twice 400.
    order.remove(RequestID(3), .tokens(400))
    #expect(waiting() == [6, 4, 5])
    order.pools = Pools(before)
    #expect(waiting() == [6, 4, 5])
  }

  @Test func onlyThoseWithNothingOpenAreForgotten() {
    var counters = TokenCounters()
    for number in 0..<12_000 {
      let place = TokenCounters.Place(id: RequestID(UInt64(number)), cost: 10, kind: 0, model: 0)
      _ = counters.enter(place, of: UserID("u\(number)"), floor: 0)
    }
    #expect(counters.userCount == 12_000)
    for number in 0..<12_000 {
      _ = counters.serve(RequestID(UInt64(number)), of: UserID("u\(number)"))
      if number < 11_000 { counters.end(of: UserID("u\(number)")) }
    }
    #expect(counters.userCount <= 7_000 && counters.userCount > 1_000)
  }

  @Test func alsoThoseAreForgottenWhoseTurnsHadShifted() {
    var counters = TokenCounters()
    func user(_ number: UInt64) -> UserID { UserID("u\(number / 2)") }
    for number: UInt64 in 0..<30_000 {
      let place = TokenCounters.Place(id: RequestID(number), cost: 10, kind: 0, model: 0)
      _ = counters.enter(place, of: user(number), floor: 0)
    }
    // Each first one goes, then each second one.
    for number in [0, 1].flatMap({ stride(from: UInt64($0), to: 30_000, by: 2) }) {
      _ = counters.leave(RequestID(number), of: user(number))
    }
    #expect(counters.userCount <= 10_000)
    #expect(counters.hasShifted && counters.settle().isEmpty && !counters.hasShifted)
  }

  @Test func modelsThatOneInstanceServesAreOnePool() {
    let pools = Pools([["a", "b"], ["c"], ["b", "d"]])
    #expect(["a", "b", "d"].allSatisfy { pools.number(of: $0) == 0 } && pools.number(of: "c") == 1)
    #expect(pools.number(of: nil) == 0 && pools.number(of: "z") == -1)
    #expect(pools == Pools([["c"], ["d", "b"], ["b", "a"]]))
    for served in [[], [["a"], []], [["a", "b"], ["b"]]] as [[[String]]] { #expect(Pools(served) == Pools()) }
  }
}
