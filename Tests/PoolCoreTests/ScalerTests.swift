import PoolCore
import Testing

@Suite struct ScalerTests {
  static func at(_ seconds: Double) -> Instant { .zero + .seconds(rounding: seconds) }

  @Test(arguments: [
    (0, 1, 0), (1, 1, 2), (4, 1, 6), (8, 1, 11), (8, 4, 3), (100, 1, 110), (16, 4, 5),
  ])
  func needIsTheDemandWithOneStandardDeviationOfHeadroom(demand: Double, slots: Int, need: Int) {
    #expect(Scaler(settings: ScalingSettings()).need(demand: demand, slots: slots) == need)
  }

  @Test func economyKeepsLessHeadroom() {
    #expect(Scaler(settings: ScalingSettings(.economy)).need(demand: 4, slots: 1) == 5)
  }

  /// So that what is observed counts as it is, and only the window keeps anything.
  static func unsmoothed(minimum: Int, maximum: Int = 8, window: Duration? = nil) -> Scaler {
    Scaler(
      settings: ScalingSettings(
        minimum: minimum, maximum: maximum, smoothing: .zero, window: window, shrink: 1, zeroHold: .zero))
  }

  @Test func theBusiestMomentOfTheWindowDecidesAsATimeline() {
    // L = 20 s, so H = 120 s.
    var scaler = Self.unsmoothed(minimum: 1)
    var expected: [Int] = []
    for (second, demand) in [(0, 0), (10, 3), (20, 0), (60, 0), (129, 0), (131, 0)] {
      scaler.observed(demand: demand, slots: 1, at: Self.at(Double(second)))
      expected.append(scaler.target(capacity: 8, at: Self.at(Double(second))).target)
    }
    #expect(expected == [1, 5, 5, 5, 5, 1])
  }

  @Test func theLatestNeedHoldsUntilAnotherIsSeen() {
    var scaler = Self.unsmoothed(minimum: 1, window: .seconds(2))
    scaler.observed(demand: 2, slots: 1, at: .zero)
    // A dispatcher whose queue doesn't move speaks every five seconds.
    #expect(scaler.target(capacity: 8, at: Self.at(4)).target == 4)
    scaler.observed(demand: 0, slots: 1, at: Self.at(5))
    #expect(scaler.target(capacity: 8, at: Self.at(5)).target == 1)
  }

  @Test func whatIsOverBeforeAnInstanceHasStartedNeedsNone() {
    var scaler = Scaler(settings: ScalingSettings(smoothing: .seconds(10)))
    func observe(_ demand: Int, at second: Double) -> Int {
      scaler.observed(demand: demand, slots: 4, at: Self.at(second))
      return scaler.target(capacity: 16, at: Self.at(second)).target
    }
    #expect(observe(0, at: 0) == 1)
    // 30 for half a second: (0 · 10 + 30 · 0.5) / 10.5 = 1.4, with headroom 2.6.
    #expect(observe(30, at: 0.5) == 1)
    #expect(observe(0, at: 1) == 1)
    // 30 that stay: more and more of what they need.
    #expect((2...60).map { observe(30, at: Double($0)) }.last == 9)
  }

  @Test func theFirstObservationCountsAtOnce() {
    var scaler = Scaler(settings: ScalingSettings(smoothing: .seconds(10)))
    scaler.observed(demand: 12, slots: 4, at: .zero)
    #expect(scaler.target(capacity: 8, at: .zero).target == 4)
  }

  @Test func oneThatComesAfterAQuietTimeIsNeverSmoothedAway() {
    var scaler = Scaler(settings: ScalingSettings(minimum: 0))
    for second in 0...100 { scaler.observed(demand: 0, slots: 4, at: Self.at(Double(second))) }
    #expect(scaler.target(capacity: 8, at: Self.at(100)).target == 0)
    scaler.observed(demand: 1, slots: 4, at: Self.at(100.01))
    #expect(scaler.target(capacity: 8, at: Self.at(100.01)).target == 1)
  }

  @Test func ofWhatTheLastMinutesNeededOnlyAPartMayGo() {
    // L = 20 s: H = 120 s, shrink period 900 s.
    var scaler = Scaler(settings: ScalingSettings(minimum: 1, smoothing: .zero))
    var seen: [String] = []
    for second in stride(from: 0.0, through: 1_010, by: 5) {
      scaler.observed(demand: second == 100 ? 50 : 0, slots: 4, at: Self.at(second))
      let decision = scaler.target(capacity: 8, at: Self.at(second))
      let line = "\(decision.target): \(decision.reason)"
      if seen.last?.split(separator: ":").first != line.split(separator: ":").first { seen.append(line) }
    }
    #expect(
      seen == [
        "1: the configured minimum", "8: the requests need 15, but there are placements for 8",
        // Of the eight there can be, not of the fifteen that would have been needed.
        "6: at most 25 % of the 8 that were needed 120 s ago may go within 900 s", "1: the configured minimum",
      ])
  }

  @Test func theLastOneStaysForAWhileAfterTheLastRequest() {
    var scaler = Scaler(settings: ScalingSettings(minimum: 0, zeroHold: .seconds(600)))
    scaler.observed(demand: 1, slots: 4, at: .zero)
    for second in 1...599 { scaler.observed(demand: 0, slots: 4, at: Self.at(Double(second))) }
    let held = scaler.target(capacity: 4, at: Self.at(599))
    #expect(held.target == 1 && held.reason.description == "the last request was here 599 s ago")
    scaler.override = Scaler.Override(minimum: nil, maximum: 0, until: nil)
    #expect(scaler.target(capacity: 4, at: Self.at(599)).reason == .minimum(.configuration))
    scaler.override = nil
    scaler.observed(demand: 0, slots: 4, at: Self.at(600))
    #expect(scaler.target(capacity: 4, at: Self.at(600)).target == 0)
  }

  @Test func theTargetStaysWithinCapacityAndBounds() {
    var scaler = Scaler(settings: ScalingSettings(minimum: 2, maximum: 3))
    scaler.observed(demand: 100, slots: 1, at: .zero)
    let decision = scaler.target(capacity: 4, at: .zero)
    #expect(decision.target == 3)
    #expect(decision.reason == .limited(.requests(need: 110), by: .maximum(.configuration)))
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

  @Test func theScheduleBoundsAtItsTimesAndAnOperatorBeforeIt() {
    var day = ScheduledBounds()
    (day.days, day.from, day.to, day.minimum) = (Set(0..<5), 8 * 60, 19 * 60, 3)
    var night = ScheduledBounds()
    (night.days, night.from, night.to, night.maximum) = ([4], 22 * 60, 6 * 60, 1)
    var settings = ScalingSettings(minimum: 2, smoothing: .zero)
    settings.schedule = [day, night]
    var scaler = Scaler(settings: settings)
    scaler.observed(demand: 0, slots: 1, at: .zero)
    func decided(_ day: Int, _ hour: Int, _ minute: Int) -> String {
      scaler.localTime = WeekTime(day: day, minute: hour * 60 + minute)
      let decision = scaler.target(capacity: 8, at: .zero)
      return "\(decision.target): \(decision.reason)"
    }
    #expect(decided(0, 7, 59) == "2: the configured minimum")
    #expect(decided(0, 8, 0) == "3: the schedule's minimum")
    #expect(decided(4, 18, 59) == "3: the schedule's minimum")
    #expect(decided(4, 19, 0) == "2: the configured minimum")
    #expect(decided(5, 12, 0) == "2: the configured minimum")
    // Friday's night, until Saturday's morning, and no other one.
    #expect([decided(4, 22, 0), decided(5, 5, 59)] == ["1: the schedule's minimum", "1: the schedule's minimum"])
    #expect([decided(4, 5, 0), decided(5, 6, 0), decided(5, 23, 0)].allSatisfy { $0.hasPrefix("2") })
    scaler.observed(demand: 9, slots: 1, at: .zero)
    #expect(decided(4, 23, 0) == "1: the requests need 12, but the schedule's maximum is reached")
    scaler.override = Scaler.Override(minimum: 5, maximum: 5, until: nil)
    #expect(decided(4, 23, 0) == "5: the requests need 12, but the operator's maximum is reached")
    scaler.localTime = nil
    scaler.override = nil
    #expect(scaler.target(capacity: 8, at: .zero).target == 8)
  }

  @Test func aWeekGoesRound() {
    let sunday = WeekTime(day: 6, minute: 23 * 60 + 30)
    #expect(sunday.advanced(by: .seconds(3_600)) == WeekTime(day: 0, minute: 30))
    #expect(sunday.advanced(by: .seconds(7 * 86_400)) == sunday)
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
