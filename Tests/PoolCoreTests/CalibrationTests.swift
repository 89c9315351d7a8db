import Foundation
import OrderedCollections
@testable import PoolCore
import Testing

/// Whether the waiting time is right, as the dispatcher itself finds out.
@Suite struct CalibrationTests {
  /// A queue before one slot whose requests take `factor` times what is foreseen of them.
  private static func history(_ count: Int, _ actual: (Int, inout Numbers) -> Double) -> Calibration {
    var random = Numbers(seed: 3)
    var calibration = Calibration()
    for number in 0..<count {
      let foresight = Calibration.Foresight(wait: 10, deviation: 2)
      calibration.learn(
        foresight, actual: actual(number, &random), told90: calibration.corrected(foresight).wait90)
    }
    return calibration
  }

  private static func corrected(_ calibration: Calibration) -> (wait: Double, wait90: Double) {
    calibration.corrected(Calibration.Foresight(wait: 100, deviation: 10))
  }

  @Test func beforeAnyWaitNothingIsCorrected() {
    let (wait, wait90) = Self.corrected(Calibration())
    #expect(wait == 100 && abs(wait90 - 112.816) < 1e-9)
  }

  @Test func whatTakesHalfAsLongAgainIsForeseenSo() {
    // One wait decides nothing, a thousand do.
    #expect((100..<101).contains(Self.corrected(Self.history(1) { _, _ in 15 }).wait))
    #expect((145...150).contains(Self.corrected(Self.history(5_000) { _, _ in 15 }).wait))
    #expect((50...53).contains(Self.corrected(Self.history(5_000) { _, _ in 1 }).wait))
    #expect((190...200).contains(Self.corrected(Self.history(5_000) { _, _ in 1_000 }).wait))
  }

  @Test func nineOfTenStayWithinTheUpperEndWhateverTheDistribution() {
    func skewed(_ random: inout Numbers) -> Double { -10 * log(Double.random(in: 0.000_001...1, using: &random)) }
    func heavy(_ random: inout Numbers) -> Double {
      Double.random(in: 0..<1, using: &random) < 0.8 ? 5 : Double.random(in: 10...50, using: &random)
    }
    for draw in [skewed, heavy] {
      var random = Numbers(seed: 8)
      var calibration = Calibration()
      var within = 0
      for number in 0..<6_000 {
        let foresight = Calibration.Foresight(wait: 10, deviation: 10)
        let (wait, told90) = (draw(&random), calibration.corrected(foresight).wait90)
        if number >= 2_000, wait <= told90 { within += 1 }
        calibration.learn(foresight, actual: wait, told90: told90)
      }
      #expect((3_500...3_700).contains(within), "\(within) of 4000")
    }
  }

  @Test func aLongTimeOfShortWaitsIsForgottenWithinTenThatAreLonger() {
    // The upper end has come down to what is foreseen, and goes up with the first that is longer.
    let foresight = Calibration.Foresight(wait: 10, deviation: 2)
    func upperEnd(after longer: Int) -> Double {
      var calibration = Self.history(2_000) { _, _ in 9 }
      for _ in 0..<longer {
        calibration.learn(foresight, actual: 12, told90: calibration.corrected(foresight).wait90)
      }
      let (wait, wait90) = calibration.corrected(foresight)
      return wait90 - wait
    }
    #expect(upperEnd(after: 0) == 0)
    #expect(upperEnd(after: 1) > 0)
    #expect(upperEnd(after: 10) > 1.5)
  }

  @Test func eachModelAndPriorityHasItsOwnAndWhatIsToldIsHeldAgainstTheWait() {
    var pool = PoolUnderTest(instances: 1, slots: 1)
    var random = Numbers(seed: 5)
    pool.arrive(1_000)
    pool.advance(.seconds(6))
    pool.end(1_000, tokens: 1)
    // Those of the second priority wait for all of the first.
    for number: UInt64 in 1...400 {
      let share = DispatchRequest.Share(user: "u", priority: number.isMultiple(of: 2) ? 0 : 1)
      pool.arrive(number, number.isMultiple(of: 4) ? "a" : "b", share: share)
    }
    for _ in 1...400 {
      pool.advance(.milliseconds(Int.random(in: 1_000...3_000, using: &random)))
      if let running = pool.dispatch.instances.values.first?.leases.first { pool.end(running.number, tokens: 1) }
    }
    let errors = pool.dispatch.calibrations.errors
    #expect(errors[0]?.count == 200 && errors[1]?.count == 199, "the first of all waited for nobody")
    #expect(errors.values.allSatisfy { $0.actual > 0 && $0.foreseen > $0.actual && $0.within <= $0.count })
    // All came when the only one before had taken 6 s, and it was 2 s.
    func factor(_ model: String, _ priority: Int) -> Double {
      let foresight = Calibration.Foresight(wait: 1, deviation: 0)
      return pool.dispatch.calibrations[model, priority: priority].corrected(foresight).wait
    }
    #expect(factor("a", 0) < 1 && factor("b", 0) < 1 && factor("b", 1) < 1)
    // Of a model of which nothing is known all others' are taken, of another priority none.
    #expect(factor("c", 0) < 1 && factor("a", 1) == factor("c", 1) && factor("a", 2) == 1)
  }

  @Test func whatNeverGotASlotTeachesNothingNorDoesAGuess() {
    var pool = PoolUnderTest(instances: 1, slots: 1)
    for number: UInt64 in 1...2 { pool.arrive(number) }
    pool.advance(.seconds(10))
    pool.end(1, tokens: 1)
    #expect(pool.dispatch.calibrations.errors.isEmpty, "what the second was told was a guess")
    for number: UInt64 in 3...4 { pool.arrive(number) }
    pool.end(3, .cancelled)
    pool.advance(.seconds(4))
    pool.end(2, tokens: 1)
    let errors = pool.dispatch.calibrations.errors[0]
    #expect(errors?.count == 1 && errors?.actual == 4 && errors?.foreseen == 20 && errors?.off == 16)
  }

  @Test func whatWasMovedOrAwayIsHeldAgainstNothing() {
    var pool = PoolUnderTest(instances: 1, slots: 1)
    pool.arrive(1)
    pool.advance(.seconds(10))
    pool.end(1, tokens: 1)
    for number: UInt64 in 2...5 { pool.arrive(number) }
    _ = pool.dispatch.setPriority(RequestID(4), 2, at: pool.now)
    _ = pool.dispatch.suspend(RequestID(5), at: pool.now)
    _ = pool.dispatch.resume(RequestID(5), at: pool.now)
    for _ in 2...5 {
      pool.advance(.seconds(10))
      if let running = pool.dispatch.instances.values.first?.leases.first { pool.end(running.number, tokens: 1) }
    }
    #expect(pool.dispatch.calibrations.errors[0]?.count == 1, "of the third alone")
  }
}
