import OrderedCollections
import PoolCore
import Testing

/// What operators order, and what becomes of it.
@Suite struct OperatorTests {
  @Test func operatorsDrainRestartAndCordon() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.perform(fleet.fleet.drain("gpu0", deadline: nil, at: fleet.now) ?? [])
    #expect(fleet.starts == ["gpu0", "gpu1"])
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    #expect(fleet.starts.count == 2)
    #expect(fleet.fleet.cordons == ["GPU-0": "an operator drains it"])
    fleet.perform(fleet.fleet.uncordon("gpu0", at: fleet.now) ?? [])
    #expect(fleet.fleet.cordons.isEmpty)
    #expect(fleet.fleet.cordon("nothing", reason: "", at: fleet.now) == nil)
  }

  @Test func aDrainOfAStartThatIsUnderWayHappensOnceItRuns() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1)
    fleet.connect()
    fleet.drain("gpu0")
    fleet.runs("gpu0")
    #expect(fleet.draining == ["gpu0"])
    fleet.observe(starting: "gpu0")
    fleet.answer("gpu0", .retired)
    #expect(fleet.stops == ["gpu0"])
  }

  @Test func aRestartOutlivesTheDeathOfWhatIsToBeRestarted() {
    for dies in [true, false] {
      var fleet = FleetUnderTest(gpus: 1, minimum: 0)
      fleet.connect()
      fleet.observe(demand: 1)
      fleet.runs("gpu0")
      fleet.observe(demand: 0, idle: ["gpu0": nil])
      fleet.advance(.seconds(300))
      fleet.observe(demand: 0, idle: ["gpu0": nil])
      fleet.restart("gpu0")
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

  @Test func aRestartOutlivesThatTheOldLifeBecomesReady() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 0)
    fleet.connect()
    fleet.observe(demand: 1)
    fleet.runs("gpu0")
    fleet.restart("gpu0")
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.answer("gpu0", .retired)
    fleet.advance(.seconds(300))
    fleet.observe(demand: 0)
    fleet.dies("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu0"])
  }

  @Test func ordersThatWereNotCarriedOutHoldForTheNextSupervisor() {
    var first = FleetUnderTest(gpus: 4, minimum: 4)
    for gpu in ["gpu0", "gpu1", "gpu3"] { first.runs(gpu) }
    first.connect()
    first.observe(demand: 4, idle: ["gpu0": nil, "gpu1": nil, "gpu3": nil])
    first.drain("gpu0", deadline: .zero + .seconds(60))
    first.restart("gpu1")
    first.drain("gpu2")
    let orders = first.fleet.operatorOrders
    #expect(
      orders == [
        "gpu0": OperatorOrder(.drain, "gpu0-1", deadline: .zero + .seconds(60)),
        "gpu1": OperatorOrder(.restart, "gpu1-2", deadline: nil), "gpu2": OperatorOrder(.drain, nil, deadline: nil),
      ])

    // gpu1 has another life by now, so that its order was carried out.
    var second = FleetUnderTest(gpus: 4, minimum: 0, begins: false)
    second.begin(found: ["gpu0", "gpu2", "gpu1"], orders: orders)
    second.connect()
    #expect(second.draining == ["gpu0", "gpu2"])
    second.advance(.seconds(60))
    #expect(second.stops == ["gpu0"])
  }

  @Test func aRestartThatWasHalfDoneIsFinishedByTheNextSupervisor() {
    var first = FleetUnderTest(gpus: 1, minimum: 1)
    first.runs("gpu0")
    first.restart("gpu0")
    let orders = first.fleet.operatorOrders
    var second = FleetUnderTest(gpus: 1, minimum: 0, begins: false)
    second.begin(found: [], orders: orders)
    #expect(second.starts == ["gpu0"])
    #expect(second.fleet.operatorOrders == ["gpu0": OperatorOrder(.restart, nil, deadline: nil)])
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
