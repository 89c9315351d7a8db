import OrderedCollections
import PoolCore
import Testing

@Suite struct FleetTests {
  @Test func theMinimumIsStartedBeforeAnythingIsKnownOfTheLoad() {
    var fleet = FleetUnderTest(gpus: 4, minimum: 1)
    #expect(fleet.starts == ["gpu0"])
    fleet.runs("gpu0")
    fleet.connect()
    #expect(fleet.told.map(\.id.name) == ["gpu0"])
  }

  @Test func nothingIsStartedBeforeTheRunningUnitsWereFound() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2, begins: false)
    #expect(fleet.starts.isEmpty)
    fleet.begin(found: ["gpu0"])
    #expect(fleet.starts == ["gpu1"])
  }

  @Test func anAdoptedInstanceIsAsOldAsItsUnit() {
    var fleet = Fleet(scaling: ScalingSettings(minimum: 1))
    let since = Instant.zero + .seconds(40)
    let unit = RunningInstance.Unit(
      invocation: "1", mainPID: 1, address: "127.0.0.1:1", specification: "old", startedAt: since)
    _ = fleet.began(found: ["gpu0": unit], at: since + .seconds(60))
    #expect(fleet.placements["gpu0"]?.running?.launchedAt == since)
  }

  @Test func anAdoptedInstanceHasTheGPUsAndSlotsThatItsUnitHas() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 1, begins: false)
    fleet.configure([fleet.placement("big", on: "GPU-0", "GPU-1")])
    let unit = RunningInstance.Unit(
      invocation: "1", mainPID: 1, address: "127.0.0.1:1", specification: "old", gpus: ["GPU-1"], slots: 3)
    fleet.perform(fleet.fleet.began(found: ["gpu1": unit], at: fleet.now))
    fleet.connect()
    #expect(fleet.told.map(\.gpus) == [["GPU-1"]] && fleet.told.map(\.slots) == [3])
    #expect(fleet.starts.isEmpty)
  }

  @Test func eightRequestsStartTheOthersAtOnceAndWhatIsStartingCounts() {
    var fleet = FleetUnderTest(gpus: 4, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 8)
    #expect(fleet.starts == ["gpu0", "gpu1", "gpu2", "gpu3"])
    fleet.observe(demand: 20)
    #expect(fleet.starts.count == 4)
  }

  @Test func surplusStopsOnlyOnceItHasBeenEmptyForTheIdleHoldAndIsRetired() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1, window: .seconds(10), idleHold: .seconds(20))
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 2)
    fleet.runs("gpu1")
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
    #expect(fleet.roles == ["gpu0": .core, "gpu1": .core])
    fleet.advance(.seconds(11))
    fleet.observe(demand: 1, idle: ["gpu0": nil, "gpu1": .seconds(5)])
    fleet.advance(.seconds(11))
    fleet.observe(demand: 0, idle: ["gpu0": .seconds(1), "gpu1": .seconds(16)])
    #expect(fleet.roles == ["gpu0": .core, "gpu1": .surplus])
    #expect(fleet.retirements.isEmpty)
    fleet.observe(demand: 0, idle: ["gpu0": .seconds(5), "gpu1": .seconds(20)])
    #expect(fleet.retirements == ["gpu1"])
    fleet.answer("gpu1", .busy)
    #expect(fleet.stops.isEmpty)
    fleet.observe(demand: 0, idle: ["gpu0": .seconds(5), "gpu1": .seconds(25)])
    fleet.answer("gpu1", .retired)
    #expect(fleet.stops == ["gpu1"])
    #expect(fleet.told.map(\.id.name) == ["gpu0"])
  }

  @Test func withoutTheDispatcherNothingShrinks() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1, window: .seconds(1), idleHold: .seconds(1))
    fleet.begin(found: ["gpu0", "gpu1"])
    for _ in 0..<100 { fleet.advance(.seconds(1)) }
    #expect(fleet.stops.isEmpty)
    #expect(fleet.fleet.decision.target == 2)
  }

  @Test func failuresPauseLongerAndLongerThenQuarantineAndOthersTakeOver() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.fails("gpu0", "exit status 1")
    // The other placement has failed less, so it is tried next.
    #expect(fleet.starts == ["gpu0", "gpu1"])
    for _ in 0..<4 {
      fleet.fails("gpu1", "exit status 1"); fleet.fails("gpu0", "exit status 1"); fleet.advance(.seconds(8))
    }
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures ?? 0 >= 3)
    #expect(fleet.reports.contains { if case .failed(_, _, _, let pause) = $0 { pause == .seconds(2) } else { false } })
  }

  @Test func aDeadInstanceIsReplacedAtOnceTheFirstTime() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.dies("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu0"])
    fleet.runs("gpu0")
    fleet.dies("gpu0")
    #expect(fleet.starts.count == 2)
    fleet.advance(.seconds(1))
    #expect(fleet.starts.count == 3)
  }

  @Test func whatStaysUnhealthyIsKilledAndReplaced() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.observe(unhealthy: "gpu0", since: .seconds(4))
    #expect(fleet.kills.isEmpty)
    fleet.observe(unhealthy: "gpu0", since: .seconds(5))
    // It may have recovered meanwhile, and have a request again.
    #expect(fleet.kills.isEmpty && fleet.retirements == ["gpu0"])
    fleet.answer("gpu0", .busy)
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    fleet.observe(unhealthy: "gpu0", since: .seconds(5))
    fleet.answer("gpu0", .retired)
    #expect(fleet.kills == ["gpu0"])
    fleet.dies("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu0"])
  }

  @Test func whatIsCondemnedFinishesWhatTheDispatcherHasLeftToItAndCountsAsFailed() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.observe(condemned: "gpu0", leases: 1)
    // Another one takes its place at once.
    #expect(fleet.stops.isEmpty && fleet.starts == ["gpu0", "gpu1"])
    fleet.runs("gpu1")
    fleet.advance(.seconds(100))
    fleet.observe(condemned: "gpu0", references: 1)
    #expect(fleet.stops.isEmpty && fleet.told.map(\.id) == ["gpu0", "gpu1"])
    fleet.observe(condemned: "gpu0")
    #expect(fleet.kills == ["gpu0"] && fleet.retirements.isEmpty)
    fleet.dies("gpu0")
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == 1)
  }

  @Test func theNextSupervisorHearsOfWhatIsCondemnedAsTheFirstDid() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1, begins: false)
    fleet.begin(found: ["gpu0"])
    fleet.connect()
    fleet.observe(condemned: "gpu0", leases: 1)
    #expect(fleet.stops.isEmpty && fleet.starts == ["gpu1"])
    fleet.observe(condemned: "gpu0")
    #expect(fleet.kills == ["gpu0"])
  }

  @Test func theNextDispatcherJudgesAnewAndUntilThenNothingIsStartedForIt() {
    var fleet = FleetUnderTest(gpus: 4, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.observe(condemned: "gpu0", references: 1)
    fleet.runs("gpu1")
    fleet.perform(fleet.fleet.dispatcherLost(at: fleet.now))
    for _ in 0..<100 { fleet.advance(.seconds(1)) }
    #expect(fleet.starts == ["gpu0", "gpu1"])
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    #expect(fleet.fleet.ready == 2 && fleet.stops.isEmpty)
  }

  @Test func aSupervisorThatEndsTakesBackWhatItHasOnlyJustStartedAndLeavesTheRest() {
    var fleet = FleetUnderTest(gpus: 3, minimum: 3)
    fleet.runs("gpu0")
    fleet.runs("gpu1")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.perform(fleet.fleet.leave(at: fleet.now))
    fleet.runs("gpu2")
    // The dispatcher was not told of this one.
    #expect(fleet.stops == ["gpu2"] && fleet.retirements == ["gpu1"])
    fleet.answer("gpu1", .retired)
    #expect(fleet.stops == ["gpu2", "gpu1"])
    fleet.dies("gpu1")
    fleet.advance(.seconds(5))
    #expect(fleet.starts.count == 3)
  }

  @Test func aSupervisorThatEndsWithoutADispatcherTakesBackOnlyWhatNoneWasToldOf() {
    var fleet = FleetUnderTest(gpus: 3, minimum: 3)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.lose()
    fleet.runs("gpu1")
    fleet.perform(fleet.fleet.leave(at: fleet.now))
    // It may serve a request that the dispatcher has given it since.
    #expect(fleet.stops == ["gpu1"] && fleet.retirements.isEmpty)
    fleet.runs("gpu2")
    #expect(fleet.stops == ["gpu1", "gpu2"])
    fleet.connect()
    #expect(fleet.said.suffix(2) == ["set", "retire gpu0"])
    fleet.answer("gpu0", .retired)
    #expect(fleet.stops == ["gpu1", "gpu2", "gpu0"])
  }

  @Test func whileTheDispatcherDrainsNothingIsStartedUntilItHasEnded() {
    for waits in [true, false] {
      var fleet = FleetUnderTest(gpus: 2, minimum: 2, startsWaitForDrain: waits)
      fleet.runs("gpu0")
      fleet.runs("gpu1")
      fleet.connect()
      fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil], isDraining: true)
      fleet.dies("gpu1")
      fleet.advance(.seconds(5))
      #expect(fleet.starts.count == (waits ? 2 : 3))
      fleet.lose()
      #expect(fleet.starts == ["gpu0", "gpu1", "gpu1"])
    }
  }

  @Test func whatADispatcherHadSeenIsForgottenWithIt() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .seconds(10)])
    fleet.lose()
    try fleet.drain("gpu0")
    fleet.said = []
    fleet.connect()
    fleet.advance(.seconds(1))
    #expect(fleet.said == ["set"], "nothing is known of it yet")
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    #expect(fleet.said == ["set"])
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    #expect(fleet.said == ["set", "retire gpu0"])
  }

  @Test func aDispatcherThatDoesNotKnowTheInstanceIsToldOfItAndAskedAgain() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.said = []
    fleet.change(specification: "new")
    #expect(fleet.said == ["set", "retire gpu0"])
    fleet.answer("gpu0", .unknown)
    #expect(fleet.said == ["set", "retire gpu0", "set"] && fleet.stops.isEmpty)
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    #expect(fleet.said.last == "retire gpu0")
    fleet.answer("gpu0", .retired)
    #expect(fleet.stops == ["gpu0"])
  }

  @Test func whatIsOnItsWayOutStillHasItsGPU() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 2, begins: false)
    fleet.configure([fleet.placement("gpu0", on: "GPU-0"), fleet.placement("new", on: "GPU-1")])
    let unit = RunningInstance.Unit(
      invocation: "1", mainPID: 1, address: "127.0.0.1:1", specification: "old", gpus: ["GPU-1"])
    fleet.perform(fleet.fleet.began(found: [:], ending: ["old": unit], at: fleet.now))
    fleet.connect()
    #expect(fleet.starts == ["gpu0"] && fleet.stops == ["old"] && fleet.told.isEmpty)
    fleet.dies("old")
    #expect(fleet.starts == ["gpu0", "new"])
  }

  @Test func aStartIsMadeWithWhatIsFoundWhenItBegins() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 2, idle: ["gpu0": nil])
    fleet.change(specification: "newer")
    fleet.startBegins("gpu1")
    fleet.fails("gpu1", "exit status 1")
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    #expect(fleet.draining.isEmpty, "the newer one has failed, and runs nowhere")
    #expect(fleet.reports.contains { if case .replacementHeld = $0 { true } else { false } })
  }

  @Test func aStartIsGivenUpWhereItsGPUsHaveBecomeOthersOrMayNotBeUsedAnyMore() throws {
    var fleet = FleetUnderTest(gpus: 3, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 2, idle: ["gpu0": nil])
    #expect(fleet.starts == ["gpu0", "gpu1", "gpu2"])
    fleet.configure([
      fleet.placement("gpu0", on: "GPU-1"), fleet.placement("gpu1", on: "GPU-0"), fleet.placement("gpu2", on: "GPU-2"),
    ])
    fleet.startBegins("gpu1")
    #expect(fleet.fleet.placements["gpu1"]?.life == .absent)
    #expect(fleet.reports.contains(.stopped("gpu1", .mayNotStartAnyMore)))
    try fleet.cordon("gpu2")
    fleet.startBegins("gpu2")
    #expect(fleet.fleet.placements["gpu2"]?.life == .absent)
    #expect(fleet.starts.count == 3)
  }

  @Test func whatIsNeverReadyIsKilledOnceTheDispatcherAgrees() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(starting: "gpu0")
    fleet.advance(fleet.fleet.limits.startTimeout)
    fleet.advance(.seconds(1))
    #expect(fleet.kills.isEmpty && fleet.retirements == ["gpu0"])
    fleet.answer("gpu0", .retired)
    #expect(fleet.kills == ["gpu0"])
  }

  @Test func stoppingEndsEveryInstanceAndStartsNone() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2)
    fleet.runs("gpu0")
    fleet.perform(fleet.fleet.stopAll(at: fleet.now))
    fleet.runs("gpu1")
    #expect(fleet.stops == ["gpu0", "gpu1"])
    fleet.dies("gpu0")
    fleet.advance(.seconds(10))
    #expect(fleet.starts.count == 2)
  }

  @Test func aStartThatIsNotNeededAnyMoreIsRetiredFirst() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1, window: .seconds(1))
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 2, idle: ["gpu0": nil])
    fleet.runs("gpu1")
    fleet.advance(.seconds(2))
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    #expect(fleet.retirements == ["gpu1"] && fleet.stops.isEmpty)
    // It was given a request meanwhile.
    fleet.answer("gpu1", .busy)
    fleet.advance(.seconds(1))
    #expect(fleet.retirements == ["gpu1"] && fleet.stops.isEmpty)
    fleet.observe(starting: "gpu1")
    fleet.answer("gpu1", .retired)
    #expect(fleet.retirements == ["gpu1", "gpu1"] && fleet.stops == ["gpu1"] && fleet.kills.isEmpty)
  }

  @Test func aLifeThatTheNextOneOvertakesHasEnded() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    let first = fleet.fleet.placements["gpu0"]?.running?.unit.invocation
    fleet.runs("gpu0")
    let second = fleet.fleet.placements["gpu0"]?.running?.unit.invocation
    #expect(first != nil && second != nil && first != second)
    #expect(fleet.reports.contains(.failed("gpu0", reason: "another life of it runs", failures: 1, retryIn: .zero)))
    // The news of the first one's end is old.
    if let first { fleet.perform(fleet.fleet.unitEnded("gpu0", first, reason: "killed by SIGKILL", at: fleet.now)) }
    #expect(fleet.fleet.placements["gpu0"]?.running?.unit.invocation == second)
    #expect(fleet.starts.count == 1)
  }

  @Test func theTimeWithoutADispatcherIsNoColdStart() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.runs("gpu0")
    fleet.advance(.seconds(100))
    fleet.connect()
    fleet.observe(demand: 2, idle: ["gpu0": nil])
    #expect(fleet.reports.contains(.ready("gpu0", ColdStart(total: .seconds(100)))))
    #expect(fleet.fleet.scaler.coldStart == .seconds(20))
    fleet.runs("gpu1")
    fleet.advance(.seconds(3))
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": .zero])
    #expect(fleet.fleet.scaler.coldStart == .seconds(3))
  }
}
