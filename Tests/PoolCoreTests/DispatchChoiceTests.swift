import OrderedCollections
import PoolCore
import Testing

/// The choice under random events, held against a look at everybody who waits; and with a full queue.
@Suite struct DispatchChoiceTests {
  @Test(arguments: 0..<60) func nobodyWaitsBesideAnInstanceThatWouldTakeIt(seed: UInt64) {
    var random = SplitMix(state: seed)
    let models: [[String]] = (0..<Int.random(in: 1...4, using: &random)).map { _ in
      Bool.random(using: &random) ? [] : [["a"], ["a", "b"], ["c"]].randomElement(using: &random)!
    }
    var pool = PoolUnderTest(instances: models.count, slots: Int.random(in: 1...3, using: &random), models: models)
    var number: UInt64 = 0
    for _ in 0..<400 {
      step(&pool, &number, &random)
      check(pool, seed)
    }
  }

  private func step(_ pool: inout PoolUnderTest, _ number: inout UInt64, _ random: inout SplitMix) {
    let running = pool.dispatch.requests.filter { if case .assigned = $0.value.phase { true } else { false } }.keys
      .sorted()
    let one = running.randomElement(using: &random)?.number
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<3:
      number += 1
      pool.arrive(
        number, ["a", "b", "c", nil].randomElement(using: &random) ?? nil,
        context: [nil, 8192].randomElement(using: &random) ?? nil)
    case 3, 4: if let one { pool.begin(one, status: [200, 200, 404].randomElement(using: &random) ?? 200) }
    case 5, 6: if let one { pool.end(one) }
    case 7: if let one { _ = pool.fail(one, .status(500)) }
    case 8:
      let waiting = pool.dispatch.queue.waiting.randomElement(using: &random)?.number
      if let waiting { pool.end(waiting, .cancelled) }
    default:
      pool.advance(.seconds(Int.random(in: 0...12, using: &random)), progress: [:])
      for id in pool.asked {
        let number = Int(id.name.dropFirst(3)) ?? 0
        let list = ["a", "b", "c"].filter { _ in Bool.random(using: &random) }.map { LoadedModel.of($0) }
        pool.list(number, Bool.random(using: &random) ? list : nil)
      }
      pool.answerProbes()
    }
  }

  private func check(_ pool: PoolUnderTest, _ seed: UInt64) {
    for id in pool.dispatch.queue.waiting {
      guard let record = pool.dispatch.requests[id] else { continue }
      let place = pool.dispatch.leastBusy(for: record)
      #expect(place == nil, "seed \(seed): \(id) waits beside \(place?.name ?? "")")
    }
    for instance in pool.dispatch.instances.values {
      #expect(instance.leases.count <= instance.wanted.slots, "seed \(seed)")
    }
  }

  /// What each event costs must not grow with what waits: an instance has a slot that nobody of ten thousand may use.
  @Test func aSlotThatNobodyMayUseCostsLittleHoweverManyWait() {
    func time(waiting: UInt64) -> Duration {
      var pool = PoolUnderTest(instances: 4, slots: 2, models: [[], ["b"], ["b"], ["b"]])
      // All have one slot left, and load.
      pool.arrive(1, "a")
      for number: UInt64 in 2...4 { pool.arrive(number, "b") }
      for number in 0..<waiting { pool.arrive(10 + number, "c\(number)", context: Int(number)) }
      #expect(pool.started.count == 4)
      let clock = ContinuousClock()
      return (0..<5).map { _ in
        clock.measure {
          for number: UInt64 in 0..<200 {
            pool.arrive(1_000_000 + number, "d")
            pool.end(1_000_000 + number, .cancelled)
          }
        }
      }.min() ?? .zero
    }
    let few = time(waiting: 100)
    let many = time(waiting: 9_000)
    // A walk past all of them costs a hundred times as much.
    #expect(many < few * 10, "\(few) with 100 waiting, \(many) with 9,000")
  }
}

private struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
