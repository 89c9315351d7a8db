import OrderedCollections
import PoolCore
import Testing

/// What operators order, and what becomes of it.
@Suite struct OperatorTests {
  @Test func aDrainCordonsAndAnotherInstanceTakesOver() throws {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    try fleet.drain("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu1"])
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    #expect(fleet.starts.count == 2)
    #expect(fleet.fleet.cordons == ["GPU-0": Cordon(reason: "an operator drains it")])
    try fleet.uncordon("gpu0")
    #expect(fleet.fleet.cordons.isEmpty && fleet.fleet.orders.isEmpty)
  }

  @Test func whatIsNotThereCanNotBeOrdered() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    #expect(throws: OrderRefusal.nothingOfThatName) { try fleet.cordon("nothing") }
    #expect(throws: OrderRefusal.nothingOfThatName) { try fleet.uncordon("nothing") }
    #expect(throws: OrderRefusal.nothingOfThatName) { try fleet.drain("nothing") }
    #expect(throws: OrderRefusal.nothingOfThatName) { try fleet.restart("nothing") }
  }

  // MARK: Drains

  @Test func aDrainLeavesTheCordonThatIsThereAndGoesWithIt() throws {
    var fleet = FleetUnderTest.running(1)
    let end = fleet.now + .seconds(8 * 3600)
    fleet.perform(try fleet.fleet.cordon("gpu0", reason: "training", until: end, at: fleet.now))
    try fleet.drain("gpu0")
    #expect(fleet.fleet.cordons == ["GPU-0": Cordon(reason: "training", until: end)])
    #expect(fleet.roles == ["gpu0": .draining])
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    fleet.advance(.seconds(8 * 3600))
    #expect(fleet.fleet.orders.isEmpty && fleet.starts == ["gpu0", "gpu0"])
  }

  @Test func anUncordonTakesTheDrainBackAndItsDeadlineToo() throws {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2)
    for gpu in ["gpu0", "gpu1"] { fleet.runs(gpu) }
    fleet.connect()
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
    try fleet.drain("gpu0", deadline: .zero + .seconds(600))
    try fleet.drain("gpu1", deadline: .zero + .seconds(600))
    #expect(fleet.draining == ["gpu0", "gpu1"])
    try fleet.uncordon("gpu0")
    #expect(fleet.roles == ["gpu0": .core, "gpu1": .draining])
    fleet.advance(.seconds(600))
    #expect(fleet.stops == ["gpu1"])
    // By the UUID as well.
    try fleet.drain("gpu0", deadline: .zero + .seconds(1200))
    try fleet.uncordon("GPU-0")
    fleet.advance(.seconds(600))
    #expect(fleet.stops == ["gpu1"])
  }

  @Test func aDrainThatIsTakenBackWhileTheDispatcherIsAskedStopsWhatIsRetired() throws {
    for answer in [Dispatch.RetireAnswer.retired, .busy] {
      var fleet = FleetUnderTest(gpus: 1, minimum: 1)
      fleet.runs("gpu0")
      fleet.connect()
      fleet.observe(demand: 0, idle: ["gpu0": .zero])
      try fleet.drain("gpu0")
      #expect(fleet.retirements == ["gpu0"])
      try fleet.uncordon("gpu0")
      fleet.answer("gpu0", answer)
      // Retired, it would never again get work.
      #expect(fleet.stops == (answer == .retired ? ["gpu0"] : []))
      fleet.dies("gpu0")
      fleet.advance(.seconds(1))
      #expect(fleet.starts.last == "gpu0")
    }
  }

  @Test func aDrainOfAStartThatIsUnderWayHappensOnceItRuns() throws {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.connect()
    try fleet.drain("gpu0")
    fleet.runs("gpu0")
    #expect(fleet.draining == ["gpu0"])
    fleet.observe(starting: "gpu0")
    fleet.answer("gpu0", .retired)
    #expect(fleet.stops == ["gpu0"])
  }

  @Test func aDrainHoldsForAStartWhoseAnswerWasLost() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.connect()
    try fleet.drain("gpu0")
    fleet.fails("gpu0", "systemd does not answer")
    fleet.runs("gpu0")
    #expect(fleet.draining == ["gpu0"])
  }

  @Test func aDrainHoldsForAStartThatComesThroughOnlyInTheNextSupervisorsLife() throws {
    var first = FleetUnderTest(gpus: 1, minimum: 1)
    first.connect()
    try first.drain("gpu0", deadline: .zero + .seconds(60))
    var second = first.successor(gpus: 1, minimum: 1)
    second.connect()
    #expect(second.starts.isEmpty)
    second.runs("gpu0")
    #expect(second.draining == ["gpu0"])
    second.advance(.seconds(60))
    #expect(second.stops == ["gpu0"])
  }

  @Test func aDrainEndsWithItsCordonWhereAPlacementGetsOtherGPUs() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    try fleet.drain("gpu0", deadline: .zero + .seconds(60))
    fleet.configure([fleet.placement("gpu0", on: "GPU-7")])
    #expect(fleet.draining == ["gpu0"])
    fleet.dies("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu0"])
    fleet.runs("gpu0")
    fleet.advance(.seconds(60))
    #expect(fleet.draining.isEmpty && fleet.stops.isEmpty)
    #expect(Array(fleet.fleet.cordons.keys) == ["GPU-0"])
  }

  // MARK: Restarts

  @Test func aRestartLetsTheInstanceFinishAndStartsItAgain() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    try fleet.restart("gpu0")
    #expect(fleet.draining == ["gpu0"] && fleet.retirements.isEmpty)
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.answer("gpu0", .retired)
    #expect(fleet.stops == ["gpu0"] && fleet.starts == ["gpu0"])
    fleet.dies("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu0"])
    fleet.runs("gpu0")
    #expect(fleet.draining.isEmpty && !fleet.fleet.orders.isEmpty)
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    #expect(fleet.fleet.orders.isEmpty)
  }

  @Test func aRestartWithADeadlineCutsOnlyTheOldLife() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    try fleet.restart("gpu0", deadline: .zero + .seconds(10))
    fleet.advance(.seconds(10))
    #expect(fleet.stops == ["gpu0"])
    fleet.dies("gpu0")
    fleet.runs("gpu0")
    fleet.advance(.seconds(10))
    #expect(fleet.stops == ["gpu0"] && fleet.draining.isEmpty)
  }

  @Test func whatCouldNotBeStartedAgainIsNotRestarted() throws {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2)
    for gpu in ["gpu0", "gpu1"] { fleet.runs(gpu) }
    fleet.connect()
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
    try fleet.cordon("gpu0")
    #expect(throws: OrderRefusal.cannotStart("it is cordoned (hot)")) { try fleet.restart("gpu0") }
    fleet.configure(gpus: 1, areAll: false)
    #expect(throws: OrderRefusal.cannotStart("its GPU can't be asked at present")) { try fleet.restart("gpu1") }
    #expect(fleet.draining.isEmpty && fleet.fleet.orders.isEmpty)
    fleet.configure(gpus: 1)
    #expect(throws: OrderRefusal.cannotStart("it is no longer configured")) { try fleet.restart("gpu1") }
    #expect(fleet.fleet.orders.isEmpty)
  }

  @Test func aRestartIsTakenBackByWhatPreventsTheStart() throws {
    for isCordon in [true, false] {
      var fleet = FleetUnderTest(gpus: 1, minimum: 1)
      fleet.runs("gpu0")
      fleet.connect()
      fleet.observe(demand: 1, idle: ["gpu0": nil])
      try fleet.restart("gpu0", deadline: .zero + .seconds(60))
      if isCordon { try fleet.cordon("gpu0") } else { fleet.configure(gpus: 0, areAll: false) }
      #expect(fleet.roles == ["gpu0": .core] && fleet.fleet.orders.isEmpty == isCordon)
      fleet.advance(.seconds(59))
      #expect(fleet.stops.isEmpty)
      // The GPU answers again.
      fleet.configure(gpus: 1)
      #expect(fleet.roles == ["gpu0": isCordon ? .core : .draining])
    }
  }

  @Test func aRestartOutlivesTheDeathOfWhatIsToBeRestarted() throws {
    for dies in [true, false] {
      var fleet = FleetUnderTest(gpus: 1, minimum: 0)
      fleet.connect()
      fleet.observe(demand: 1)
      fleet.runs("gpu0")
      fleet.observe(demand: 0, idle: ["gpu0": nil])
      fleet.advance(.seconds(300))
      fleet.observe(demand: 0, idle: ["gpu0": nil])
      try fleet.restart("gpu0")
      if dies { fleet.dies("gpu0") } else { fleet.observe(unhealthy: "gpu0", since: .seconds(60)) }
      if !dies { fleet.dies("gpu0") }
      fleet.advance(.seconds(1))
      #expect(fleet.fleet.decision.target == 0)
      #expect(fleet.starts == ["gpu0", "gpu0"], "dies: \(dies)")
      // Of the new life it ends with the first failure.
      fleet.fails("gpu0", "exit status 1")
      fleet.advance(.seconds(10))
      #expect(fleet.starts == ["gpu0", "gpu0"], "dies: \(dies)")
    }
  }

  @Test func aRestartOutlivesThatTheOldLifeBecomesReady() throws {
    var fleet = FleetUnderTest(gpus: 1, minimum: 0)
    fleet.connect()
    fleet.observe(demand: 1)
    fleet.runs("gpu0")
    try fleet.restart("gpu0")
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.answer("gpu0", .retired)
    fleet.advance(.seconds(300))
    fleet.observe(demand: 0)
    fleet.dies("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu0"])
  }

  // MARK: The next supervisor

  @Test func ordersThatStandHoldForTheNextSupervisor() throws {
    var first = FleetUnderTest(gpus: 4, minimum: 4)
    for gpu in ["gpu0", "gpu1", "gpu3"] { first.runs(gpu) }
    first.connect()
    first.observe(demand: 4, idle: ["gpu0": nil, "gpu1": nil, "gpu3": nil])
    try first.drain("gpu0", deadline: .zero + .seconds(60))
    try first.restart("gpu1")
    try first.drain("gpu2")
    #expect(
      first.fleet.orders == [
        "gpu0": .drain(deadline: .zero + .seconds(60)), "gpu1": .restart(of: "gpu1-2", deadline: nil),
        "gpu2": .drain(deadline: nil),
      ])

    // gpu1 has another life by now, so that its order is carried out once that is ready.
    var second = first.successor(gpus: 4, minimum: 0, begins: false)
    second.begin(found: ["gpu0", "gpu2", "gpu3", "gpu1"])
    second.connect()
    #expect(second.draining == ["gpu0", "gpu2"])
    second.observe(demand: 0, idle: ["gpu1": .zero])
    #expect(Set(second.fleet.orders.keys) == ["gpu0", "gpu2"])
    second.advance(.seconds(60))
    #expect(second.stops == ["gpu0"])
  }

  @Test func aRestartThatWasHalfDoneIsFinishedByTheNextSupervisor() throws {
    var first = FleetUnderTest(gpus: 1, minimum: 1)
    first.runs("gpu0")
    try first.restart("gpu0")
    var second = first.successor(gpus: 1, minimum: 0)
    #expect(second.starts == ["gpu0"] && !second.fleet.orders.isEmpty)
    second.runs("gpu0")
    second.connect()
    second.observe(demand: 0, idle: ["gpu0": .zero])
    #expect(second.draining.isEmpty && second.fleet.orders.isEmpty)
  }

  @Test func ordersOutliveThatAGPUCanNotBeAsked() throws {
    var first = FleetUnderTest(gpus: 2, minimum: 2)
    for gpu in ["gpu0", "gpu1"] { first.runs(gpu) }
    try first.drain("gpu1")
    var second = first.successor(gpus: 2, minimum: 2, begins: false)
    second.configure(gpus: 1, areAll: false)
    second.begin(found: [])
    second.configure(gpus: 2)
    second.runs("gpu1")
    second.connect()
    #expect(second.draining == ["gpu1"])
    second.configure(gpus: 1)
    second.dies("gpu1")
    #expect(second.fleet.orders.isEmpty)
  }

  @Test func boundsBelowZeroAreZero() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.perform(fleet.fleet.setScale(minimum: -3, maximum: -1, until: nil, at: fleet.now))
    #expect(fleet.fleet.decision.target == 0 && fleet.roles == ["gpu0": .surplus])
  }
}
