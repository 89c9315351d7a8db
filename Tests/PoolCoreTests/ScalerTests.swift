import PoolCore
import Testing

@Suite struct ScalerTests {
  static func at(_ seconds: Double) -> Instant { .zero + .seconds(rounding: seconds) }

  @Test(arguments: [
    (0, 1, 0), (1, 1, 2), (4, 1, 6), (8, 1, 11), (8, 4, 3), (100, 1, 110), (16, 4, 5),
  ])
  func needIsTheDemandWithOneStandardDeviationOfHeadroom(demand: Int, slots: Int, need: Int) {
    #expect(Scaler(settings: ScalingSettings()).need(demand: demand, slots: slots) == need)
  }

  @Test func economyKeepsNoHeadroom() {
    #expect(Scaler(settings: ScalingSettings(.economy)).need(demand: 3, slots: 1) == 3)
  }

  @Test func theBusiestMomentOfTheWindowDecidesAsATimeline() {
    // L = 20 s, so H = 120 s.
    var scaler = Scaler(settings: ScalingSettings(minimum: 1, maximum: 8))
    var expected: [Int] = []
    for (second, demand) in [(0, 0), (10, 3), (20, 0), (60, 0), (129, 0), (131, 0)] {
      scaler.observed(demand: demand, slots: 1, at: Self.at(Double(second)))
      expected.append(scaler.target(capacity: 8, at: Self.at(Double(second))).target)
    }
    #expect(expected == [1, 5, 5, 5, 5, 1])
  }

  @Test func theLatestNeedHoldsUntilAnotherIsSeen() {
    var scaler = Scaler(settings: ScalingSettings(minimum: 1, window: .seconds(2)))
    scaler.observed(demand: 2, slots: 1, at: .zero)
    // A dispatcher whose queue doesn't move speaks every five seconds.
    #expect(scaler.target(capacity: 8, at: Self.at(4)).target == 4)
    scaler.observed(demand: 0, slots: 1, at: Self.at(5))
    #expect(scaler.target(capacity: 8, at: Self.at(5)).target == 1)
  }

  @Test func theTargetStaysWithinCapacityAndBounds() {
    var scaler = Scaler(settings: ScalingSettings(minimum: 2, maximum: 3))
    scaler.observed(demand: 100, slots: 1, at: .zero)
    let decision = scaler.target(capacity: 4, at: .zero)
    #expect(decision.target == 3)
    #expect(decision.reason == .limited(.requests(need: 110), by: .maximum(isOverride: false)))
    #expect(scaler.target(capacity: 1, at: .zero).target == 1)
  }

  @Test(arguments: [
    (0, nil, 4, "the configured minimum"), (0, 1, 4, "the minimum is 3, but the operator's maximum is reached"),
    (0, nil, 2, "the minimum is 3, but there are placements for 2"),
    (0, nil, 0, "the minimum is 3, but no placement may run one"),
    (4, 5, 8, "the requests need 6, but the operator's maximum is reached"),
    (4, nil, 5, "the requests need 6, but there are placements for 5"),
    (4, nil, 8, "the requests of now need 6"),
  ])
  func theReasonNamesWhatDecided(demand: Int, operatorsMaximum: Int?, capacity: Int, reason: String) {
    var scaler = Scaler(settings: ScalingSettings(minimum: 3))
    scaler.override = Scaler.Override(minimum: nil, maximum: operatorsMaximum, until: nil)
    scaler.observed(demand: demand, slots: 1, at: .zero)
    #expect(scaler.target(capacity: capacity, at: .zero).reason.description == reason)
  }

  @Test func withoutNewsNothingMayShrink() {
    var scaler = Scaler(settings: ScalingSettings(minimum: 1))
    #expect(!scaler.target(capacity: 4, at: .zero).mayShrink)
    scaler.observed(demand: 0, slots: 1, at: .zero)
    #expect(scaler.target(capacity: 4, at: Self.at(15)).mayShrink)
    #expect(!scaler.target(capacity: 4, at: Self.at(15.1)).mayShrink)
  }

  @Test func anOperatorsBoundsHoldForTheirTime() {
    var scaler = Scaler(settings: ScalingSettings(minimum: 1))
    scaler.override = Scaler.Override(minimum: 3, maximum: 3, until: Self.at(60))
    scaler.observed(demand: 0, slots: 1, at: .zero)
    #expect(scaler.target(capacity: 4, at: Self.at(59)).target == 3)
    #expect(scaler.target(capacity: 4, at: Self.at(60)).target == 1)
    #expect(scaler.override == nil)
  }

  @Test func theColdStartIsTheNinetiethPercentileOfTheLastOnes() {
    var starts = ColdStarts()
    #expect(starts.typical(assumed: .seconds(20)) == .seconds(20))
    for second in 1...10 { starts.add(.seconds(second)) }
    #expect(starts.typical(assumed: .seconds(20)) == .seconds(9))
    for _ in 0..<32 { starts.add(.seconds(2)) }
    #expect(starts.typical(assumed: .seconds(20)) == .seconds(2))
  }
}
