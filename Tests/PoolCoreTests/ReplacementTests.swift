import OrderedCollections
import PoolCore
import Testing

/// From an old specification to a new one, and from old placements to new ones.
@Suite struct ReplacementTests {
  @Test func aNewSpecificationReplacesOneAtATimeWithTheNewReadyFirst() {
    var fleet = FleetUnderTest(gpus: 3, minimum: 2)
    fleet.runs("gpu0")
    fleet.runs("gpu1")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    fleet.change(specification: "new")
    #expect(fleet.starts == ["gpu0", "gpu1", "gpu2"])
    #expect(fleet.draining.isEmpty)
    fleet.runs("gpu2")
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero, "gpu2": .zero])
    #expect(fleet.draining == ["gpu1"])
    #expect(fleet.retirements == ["gpu1"])
    fleet.answer("gpu1", .retired)
    fleet.dies("gpu1")
    #expect(fleet.starts == ["gpu0", "gpu1", "gpu2", "gpu1"])
    #expect(fleet.draining.isEmpty)
  }

  @Test func aSpecificationThatIsNotKnownReplacesNothing() {
    var fleet = FleetUnderTest.running(1, of: 2)
    fleet.change(specification: "")
    fleet.pass(.seconds(5))
    #expect(fleet.starts == ["gpu0"] && fleet.draining.isEmpty)
    fleet.change(specification: "new")
    #expect(fleet.starts == ["gpu0", "gpu1"])
  }

  @Test func ofASpecificationThatIsKnownInPartThatPartDecides() {
    var fleet = FleetUnderTest.running(1, of: 2)
    fleet.change(specification: "new")
    fleet.runs("gpu1")
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    fleet.pass(.seconds(5))
    let starts = fleet.starts
    fleet.change(specification: "ne")
    fleet.pass(.seconds(5))
    #expect(fleet.starts == starts && fleet.draining.isEmpty)
    fleet.change(specification: "other")
    #expect(fleet.starts.count == starts.count + 1)
  }

  @Test func whatASpecificationWasLearntWithOutlivesThatItIsNotAllKnownForAWhile() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.fail("gpu0", with: "ab")
    func failures() throws -> Int { try #require(fleet.fleet.placements["gpu0"]).history.restarts.failures }
    for part in ["a", "", "ab", "abc", "a"] {
      fleet.change(specification: part)
      #expect(try failures() == 1, "\(part)")
    }
    fleet.change(specification: "abd")
    #expect(try failures() == 0)
  }

  @Test func whatFailsAsFarAsItIsKnownCostsNoRunningInstanceOnceAllOfItIsKnown() {
    var fleet = FleetUnderTest.running(1, of: 2)
    fleet.change(specification: "a")
    while fleet.fleet.placements["gpu1"]?.history.restarts.isQuarantined != true {
      fleet.fails("gpu1", "exit status 1")
      fleet.advance(.seconds(1))
      fleet.observe(demand: 0, idle: ["gpu0": .zero])
    }
    fleet.change(specification: "ab")
    fleet.pass(.seconds(5))
    #expect(fleet.draining.isEmpty && fleet.stops.isEmpty)
  }

  @Test func aFailureWithOtherPinsCountsNoMoreOnceTheyAreKnown() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.fail("gpu0", with: "ax")
    fleet.change(specification: "a")
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == 1)
    fleet.change(specification: "ab")
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == 0)

    // Nor where they had been known before.
    var other = FleetUnderTest(gpus: 1, minimum: 1)
    other.fails("gpu0", "for another reason")
    other.change(specification: "ab")
    other.change(specification: "a")
    other.runs("gpu0", with: "ax")
    other.dies("gpu0")
    #expect((other.fleet.placements["gpu0"]?.history.restarts.failures ?? 0) > 0)
    other.change(specification: "ab")
    #expect(other.fleet.placements["gpu0"]?.history.restarts.failures == 0)
  }

  @Test func aSpecificationThatDoesNotRunCostsNoRunningInstanceAndIsTriedAgainAndElsewhere() {
    var fleet = FleetUnderTest(gpus: 3, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.change(specification: "broken")
    #expect(fleet.starts == ["gpu0", "gpu1"])
    fleet.fails("gpu1", "exit status 1")
    #expect(fleet.starts == ["gpu0", "gpu1", "gpu2"])
    fleet.fails("gpu2", "exit status 1")
    for _ in 0..<30 {
      fleet.advance(.seconds(1))
      for gpu in ["gpu1", "gpu2"] { fleet.fails(gpu, "exit status 1") }
      fleet.observe(demand: 0, idle: ["gpu0": .zero])
    }
    #expect(fleet.draining.isEmpty && fleet.stops.isEmpty)
    #expect(fleet.starts.count { $0 == "gpu1" } == 5 && fleet.starts.count { $0 == "gpu2" } == 5)
    #expect(fleet.reports.count { if case .replacementHeld = $0 { true } else { false } } == 1)

    // The cause is mended.
    fleet.advance(.seconds(600))
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.runs("gpu1")
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    #expect(fleet.draining == ["gpu0"])
  }

  @Test func aFailureOfTheOldSpecificationOrOnACordonedGPUHoldsNothing() throws {
    var fleet = FleetUnderTest(gpus: 3, minimum: 2)
    for gpu in ["gpu0", "gpu1"] { fleet.runs(gpu) }
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    try fleet.cordon("gpu1")
    fleet.change(specification: "new")
    #expect(fleet.starts == ["gpu0", "gpu1", "gpu2"])
    fleet.dies("gpu1")
    fleet.runs("gpu2")
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu2": .zero])
    #expect(fleet.draining == ["gpu0"])
    #expect(!fleet.reports.contains { if case .replacementHeld = $0 { true } else { false } })
  }

  @Test func whatRunsOnACordonedGPUIsReplacedOnceTheCordonEnds() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    try fleet.cordon("gpu0")
    fleet.change(specification: "new")
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    #expect(fleet.draining.isEmpty && fleet.retirements.isEmpty)
    try fleet.uncordon("gpu0")
    #expect(fleet.draining == ["gpu0"])
  }

  @Test func aCordonOrAGPUThatCannotBeAskedTakesTheDrainOfAReplacementBack() throws {
    for isCordoned in [true, false] {
      var fleet = FleetUnderTest(gpus: 1, minimum: 1)
      fleet.runs("gpu0")
      fleet.connect()
      fleet.observe(demand: 1, idle: ["gpu0": nil])
      fleet.change(specification: "new")
      #expect(fleet.draining == ["gpu0"])
      if isCordoned { try fleet.cordon("gpu0") } else { fleet.configure(gpus: 0, areAll: false) }
      #expect(fleet.draining == [])
      fleet.observe(demand: 0, idle: ["gpu0": .zero])
      #expect(fleet.retirements.isEmpty)
      if isCordoned { try fleet.uncordon("gpu0") } else { fleet.configure(gpus: 1) }
      #expect(fleet.draining == ["gpu0"] && fleet.retirements == ["gpu0"])
    }
  }

  @Test(arguments: [GPUReading.of(1, trouble: .unanswered("it hangs")), .busy(1)])
  func whatNothingCouldBeStartedInPlaceOfGoesOnAsItIs(_ reading: GPUReading) {
    var fleet = FleetUnderTest.running(2)
    fleet.read(.of(0), reading)
    fleet.change(specification: "new")
    #expect(fleet.draining == ["gpu0"])
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    fleet.read(.of(0), reading)
    fleet.runs("gpu0")
    fleet.observe(references: [], ready: ["gpu0", "gpu1"])
    fleet.read(.of(0), reading)
    #expect(fleet.draining == [] && fleet.retirements == ["gpu0"])
    fleet.read(.of(0), .of(1))
    #expect(fleet.draining == ["gpu1"])
  }

  @Test func theDrainOfAReplacementIsTakenBackWithTheChange() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    fleet.change(specification: "new")
    #expect(fleet.draining == ["gpu0"])
    fleet.change(specification: "old")
    #expect(fleet.draining == [])
  }

  @Test func aPullIsWaitedForWhereTheOldOneGoesFirstAndNotWhereTheNewOneIsReady() {
    for gpus in 1...2 {
      var fleet = FleetUnderTest(gpus: gpus, minimum: 1)
      fleet.runs("gpu0")
      fleet.connect()
      fleet.observe(references: ["gpu0"])
      fleet.change(specification: "new")
      #expect(fleet.draining == [])
      if gpus == 1 {
        fleet.observe(demand: 0, idle: ["gpu0": .zero])
      } else {
        fleet.runs("gpu1")
        fleet.observe(references: ["gpu0"], ready: ["gpu1"])
      }
      #expect(fleet.draining == ["gpu0"])
    }
  }

  @Test func whatPassesThroughAndWritesNothingHoldsNoReplacementUp() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(references: ["gpu0"], areWrites: false)
    fleet.change(specification: "new")
    #expect(fleet.draining == ["gpu0"])
    // It may end.
    fleet.observe(references: ["gpu0"], areWrites: false)
    #expect(fleet.stops.isEmpty)
  }

  @Test func nothingIsReplacedBesideWhatAnOperatorRestartsOrWhatIsKilled() throws {
    for isRestart in [true, false] {
      var fleet = FleetUnderTest(gpus: 2, minimum: 2)
      for gpu in ["gpu0", "gpu1"] { fleet.runs(gpu) }
      fleet.connect()
      fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
      if isRestart { try fleet.restart("gpu1") } else { fleet.observe(condemned: "gpu1") }
      fleet.change(specification: "new")
      #expect(fleet.draining == (isRestart ? ["gpu1"] : []))
      fleet.dies("gpu1")
      fleet.advance(.seconds(2))
      fleet.runs("gpu1")
      #expect(fleet.draining.isEmpty)
      fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": .zero])
      #expect(fleet.draining == ["gpu0"])
    }
  }

  @Test func aGPUThatFailsDoesNotHoldWhatRunsElsewhere() {
    var fleet = FleetUnderTest(gpus: 3, minimum: 2)
    for gpu in ["gpu0", "gpu1"] { fleet.runs(gpu) }
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    fleet.advance(.seconds(1))
    fleet.change(specification: "new")
    fleet.runs("gpu2")
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero, "gpu2": .zero])
    fleet.answer("gpu1", .retired)
    fleet.dies("gpu1")
    // The new one runs on gpu2, and fails on gpu1 until that is in quarantine.
    for _ in 0..<30 where fleet.fleet.placements["gpu1"]?.history.restarts.isQuarantined == false {
      fleet.fails("gpu1", "exit status 1")
      #expect(fleet.draining.isEmpty || fleet.fleet.placements["gpu1"]?.history.restarts.isQuarantined == true)
      fleet.advance(.seconds(1))
      fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu2": .zero])
    }
    #expect(fleet.draining == ["gpu0"])
  }

  @Test func placementsThatTakeOverOthersGPUsGetThemOneAtATime() {
    var fleet = FleetUnderTest(gpus: 3, minimum: 3)
    for gpu in ["gpu0", "gpu1", "gpu2"] { fleet.runs(gpu) }
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": nil, "gpu1": nil, "gpu2": nil])
    fleet.configure((0..<3).map { fleet.placement(InstanceID("new\($0)"), on: "GPU-\($0)") })
    #expect(fleet.draining == ["gpu2"])
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero, "gpu2": .zero])
    #expect(fleet.retirements == ["gpu2"])
    fleet.answer("gpu2", .retired)
    fleet.dies("gpu2")
    #expect(fleet.starts.last == "new2" && fleet.draining.isEmpty)
    fleet.runs("new2")
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    #expect(fleet.draining.isEmpty, "the new one is not ready yet")
    fleet.observe(demand: 0, idle: ["gpu0": nil, "gpu1": nil, "new2": .zero])
    #expect(fleet.draining == ["gpu1"])
    // Of what nobody takes over nothing need stay.
    fleet.configure([fleet.placement("new2", on: "GPU-2")])
    #expect(fleet.draining.sorted() == ["gpu0", "gpu1"])
  }

  @Test func aPlacementThatIsNoLongerConfiguredDrains() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2)
    fleet.runs("gpu0")
    fleet.runs("gpu1")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    fleet.configure(gpus: 1)
    #expect(fleet.draining == ["gpu1"])
    fleet.answer("gpu1", .retired)
    fleet.dies("gpu1")
    #expect(Array(fleet.fleet.placements.keys) == ["gpu0"])
  }

  @Test func whatRunsStaysWhilePlacementsMayBeMissing() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 1, window: .seconds(1), idleHold: .seconds(1), begins: false)
    fleet.configure(gpus: 0, areAll: false)
    fleet.begin(found: ["gpu0", "gpu1"])
    fleet.connect()
    for _ in 0..<100 {
      fleet.advance(.seconds(1))
      fleet.observe(demand: 0, idle: ["gpu0": .seconds(100), "gpu1": .seconds(100)])
    }
    #expect(fleet.draining.isEmpty && fleet.retirements.isEmpty && fleet.stops.isEmpty)
    #expect(fleet.told.map(\.id) == ["gpu0", "gpu1"])
    // Known again: of gpu1 nothing is left.
    fleet.configure(gpus: 1)
    #expect(fleet.draining == ["gpu1"])
    fleet.configure(gpus: 2)
    #expect(fleet.draining.isEmpty)
  }

  @Test func aPlacementThatComesAndGoesWhileItsStartIsUnderWayLeavesNoRecord() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.configure(gpus: 0)
    fleet.fails("gpu0", "exit status 1")
    #expect(fleet.fleet.placements.isEmpty)
  }

  @Test func nothingStartsOnAGPUThatAnotherPlacementsInstanceStillHas() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2)
    for gpu in ["gpu0", "gpu1"] { fleet.runs(gpu) }
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": nil])
    fleet.configure([fleet.placement("gpu0", on: "GPU-0"), fleet.placement("big", on: "GPU-1", "GPU-2")])
    #expect(fleet.draining == ["gpu1"] && fleet.starts == ["gpu0", "gpu1"])
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    fleet.answer("gpu1", .retired)
    // It is being stopped, and has the GPU still.
    fleet.advance(.seconds(1))
    #expect(fleet.starts == ["gpu0", "gpu1"])
    fleet.dies("gpu1")
    #expect(fleet.starts == ["gpu0", "gpu1", "big"])
  }

  @Test func aPlacementThatGetsOtherGPUsKeepsTheOldOnesUntilItIsEmpty() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 8, idle: ["gpu0": nil])
    fleet.change(specification: "new")
    fleet.configure([fleet.placement("gpu0", on: "GPU-1"), fleet.placement("other", on: "GPU-0")])
    fleet.advance(.seconds(1))
    #expect(fleet.starts == ["gpu0"])
    #expect(fleet.told.map(\.gpus) == [["GPU-0"]])
  }

  @Test func placementsThatShareAGPUStartBesideEachOther() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 3)
    fleet.configure([
      fleet.placement("a", on: "GPU-0", isShared: true), fleet.placement("b", on: "GPU-0", isShared: true),
    ])
    #expect(fleet.starts == ["a", "b"])
  }
}

extension FleetUnderTest {
  /// A start is under way; the next one, with this specification, fails.
  fileprivate mutating func fail(_ id: String, with specification: String) {
    fails(id, "for another reason")
    change(specification: specification)
    fails(id, "exit status 1")
  }
}
