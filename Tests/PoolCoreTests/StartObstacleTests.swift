import OrderedCollections
import PoolCore
import Testing

/// Room first: what stands against a start.
@Suite struct StartObstacleTests {
  @Test func aGPUThatOthersUseIsPassedOverToldOfOnceAndLookedAtAgain() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 1)
    fleet.read(.busy(0), .of(1))
    fleet.configure(gpus: 2)
    #expect(fleet.starts == ["gpu1"])
    #expect(
      fleet.reports.contains(.startHeld("gpu0", .busy(gpu: "GPU-0", by: [.training(5)]))))
    #expect(fleet.obstacle("gpu0")?.description == "GPU-0 is used by python3 (process 4711) with 5 GiB")
    fleet.runs("gpu1")
    fleet.connect()
    fleet.observe(demand: 2, idle: ["gpu1": nil])
    fleet.pass(.seconds(20), .busy(0, with: 6), .of(1))
    #expect(fleet.starts == ["gpu1"] && fleet.held == [.busy])
    #expect(fleet.fleet.decision.reason == .limited(.requests(need: 4), by: .placements(1)))
    fleet.read(.of(0), .of(1))
    #expect(fleet.starts == ["gpu1", "gpu0"])
  }

  @Test func obstaclesThatAlternateAreNotToldEachTime() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 1)
    var placement = fleet.placement("gpu0", on: "GPU-0")
    placement.neededMemory = gibibytes(24)
    fleet.read(.busy(0))
    fleet.configure([placement])
    for _ in 0..<60 {
      fleet.pass(.seconds(2), .busy(0, with: 2))
      fleet.pass(.seconds(2), .busy(0, with: 1))
    }
    #expect(fleet.starts.isEmpty)
    #expect(fleet.held.count { $0 == .busy } <= 5 && fleet.held.count { $0 == .noRoom } <= 5, "\(fleet.held)")
  }

  @Test func aDesktopIsNobodyAndWhoCanNotBeNamedIsSomebodyOnlyWhereNothingOfOursIs() {
    var fleet = FleetUnderTest.running(1, of: 2)
    let unknown = GPUReading.Process(pid: 1, memory: gibibytes(5), owner: .unknown)
    fleet.read(.of(0, used: 5, by: [unknown]), .of(1, used: 1, by: [.training(1)]))
    #expect(fleet.obstacle("gpu1") == nil)
    fleet.read(.of(0, used: 5, by: [unknown]), .of(1, used: 5, by: [unknown]))
    #expect(fleet.obstacle("gpu1")?.kind == .busy)
    #expect(fleet.fleet.note(on: "gpu0", at: fleet.now) == nil)
  }

  @Test func whatWasReadLongAgoHoldsNothingBack() {
    var fleet = FleetUnderTest.running(0, of: 1)
    fleet.read(.busy(0))
    #expect(fleet.obstacle("gpu0") != nil)
    fleet.now = fleet.now + .seconds(31)
    #expect(fleet.obstacle("gpu0") == nil)
  }

  @Test func whatIsConfiguredMustBeFreeOnAllGPUsTogether() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 1)
    var big = fleet.placement("big", on: "GPU-0", "GPU-1")
    big.neededMemory = gibibytes(40)
    fleet.read(.of(0, used: 5, by: nil), .of(1, used: 5, by: nil))
    fleet.configure([big])
    #expect(fleet.obstacle("big") == .noRoom(needed: gibibytes(40), free: gibibytes(38)))
    #expect(fleet.obstacle("big")?.description == "40 GiB of GPU memory are needed, 38 GiB are free")
    fleet.read(.of(0, used: 5, by: nil), .of(1, used: nil, by: nil))
    #expect(fleet.starts == ["big"], "what is not known holds nothing back")
  }

  @Test func theModelsOfTheLastLifeAreTheMeasureWhereNothingIsConfigured() throws {
    var fleet = FleetUnderTest.running(1)
    fleet.observe(loaded: ["gpu0": [.of(12), .of(6, name: "b")]])
    fleet.observe(loaded: ["gpu0": [.of(6, name: "b")]])
    fleet.observe(loaded: ["gpu0": nil])
    fleet.dies("gpu0")
    fleet.runs("gpu0")
    fleet.dies("gpu0")
    // The life between loaded nothing, and says nothing.
    fleet.read(.of(0, used: 7, by: nil))
    fleet.advance(.seconds(16))
    #expect(fleet.obstacle("gpu0") == .noRoom(needed: gibibytes(18), free: gibibytes(17)))
    try fleet.uncordon("gpu0")
    #expect(fleet.starts.count == 3)
  }

  @Test func whatIsMoreThanAnIdleGPUHasIsNotWaitedFor() {
    // Ollama says the file's size where it can't tell how much of a model is on the GPU, and leaves nothing to spare.
    for size in [40, 24, 23] {
      var fleet = FleetUnderTest.running(1)
      fleet.read(.of(0, used: 1))
      fleet.observe(loaded: ["gpu0": [.of(size)]])
      fleet.dies("gpu0")
      fleet.pass(.seconds(16), .of(0, used: 2))
      #expect(fleet.starts.count == 1 && fleet.held.last == .noRoom, "others have a part of it")
      fleet.pass(.seconds(2), .of(0, used: 1))
      #expect(fleet.starts.count == 2, "\(size) GiB")
    }
  }

  @Test func whatModelsTookElsewhereIsTheMeasureUnlessTheGPUCouldNeverHoldIt() {
    var fleet = FleetUnderTest.running(1, of: 3)
    fleet.observe(loaded: ["gpu0": [.of(20)]])
    fleet.dies("gpu0")
    let small = GPUReading(uuid: "GPU-2", memoryTotal: gibibytes(8), memoryUsed: 0, processes: [])
    fleet.read(.of(0), .of(1, used: 5, by: nil), small)
    #expect(fleet.obstacle("gpu1")?.kind == .noRoom)
    #expect(fleet.obstacle("gpu2") == nil)
    fleet.change(specification: "with a smaller context")
    #expect(fleet.obstacle("gpu1") == nil)
  }

  @Test func whatNeighboursOnAGPUWillTakeIsNotFree() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 2)
    let shared = ["a", "b"].map { name in
      var placement = fleet.placement(InstanceID(name), on: "GPU-0", isShared: true)
      placement.neededMemory = gibibytes(14)
      return placement
    }
    fleet.read(.of(0))
    fleet.configure(shared)
    #expect(fleet.starts == ["a"])
    #expect(fleet.obstacle("b") == .noRoom(needed: gibibytes(14), free: gibibytes(10)))
    // Half of it has been taken: it is used now, and not promised any more.
    fleet.runs("a")
    fleet.read(.of(0, used: 7, by: [.ours("a", 7)]))
    #expect(fleet.obstacle("b") == .noRoom(needed: gibibytes(14), free: gibibytes(10)))
  }

  // MARK: Settling

  @Test func aStartWaitsForTheMemoryOfTheLastLifeButNotForever() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0, used: 20, by: [.ours("gpu0", 20)]))
    fleet.dies("gpu0")
    #expect(fleet.starts.count == 1 && fleet.held == [.settling], "what was read before says nothing")
    fleet.now = fleet.now + .seconds(2)
    fleet.read(.of(0, used: 20, by: [.ours("gpu0", 20)]))
    #expect(fleet.starts.count == 1, "a process of what is gone is still there")
    fleet.now = fleet.now + .seconds(2)
    fleet.read(.of(0, used: 12))
    #expect(fleet.starts.count == 1)
    var patient = fleet
    fleet.now = fleet.now + .seconds(2)
    fleet.read(.of(0, used: 1))
    #expect(fleet.starts.count == 2)
    patient.pass(.seconds(10), .of(0, used: 12))
    #expect(patient.starts.count == 1)
    patient.pass(.seconds(2), .of(0, used: 12))
    #expect(patient.starts.count == 2)
  }

  @Test func whatWasInUseBeforeTheFirstStartIsNotWaitedFor() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 0)
    fleet.read(.of(0, used: 6))
    fleet.connect()
    fleet.observe(demand: 1)
    fleet.runs("gpu0")
    fleet.dies("gpu0")
    fleet.now = fleet.now + .seconds(2)
    fleet.read(.of(0, used: 6))
    #expect(fleet.starts.count == 2)
  }

  @Test func whileItSettlesThePlacementCounts() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0, used: 20, by: [.ours("gpu0", 20)]))
    fleet.dies("gpu0")
    #expect(fleet.fleet.decision.target == 1)
  }

  // MARK: Cordons that end

  @Test func aCordonEndsByItselfAndTheDrainThatCameWithItToo() throws {
    var fleet = FleetUnderTest.running(1)
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    try fleet.drain("gpu0")
    fleet.perform(try fleet.fleet.cordon("gpu0", reason: "training", until: fleet.now + .seconds(60), at: fleet.now))
    #expect(fleet.draining == ["gpu0"])
    #expect(fleet.fleet.cordons == ["GPU-0": Cordon(reason: "training", until: fleet.now + .seconds(60))])
    fleet.advance(.seconds(59))
    #expect(fleet.draining == ["gpu0"])
    fleet.advance(.seconds(1))
    #expect(fleet.draining.isEmpty && fleet.fleet.cordons.isEmpty && fleet.fleet.orders.isEmpty)
    #expect(fleet.reports.filter { $0 == .cordonEnded(gpu: "GPU-0") }.count == 1)
  }

  @Test func aRestartOnAGPUThatOthersHaveTakenWaitsForThem() throws {
    var fleet = FleetUnderTest.running(1, of: 2)
    fleet.read(.busy(0, ours: [.ours("gpu0")]), .of(1))
    try fleet.restart("gpu0")
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    // The target is met elsewhere, and no further one is started in its name.
    #expect(fleet.starts == ["gpu0", "gpu1"])
    fleet.runs("gpu1")
    fleet.observe(references: [], ready: ["gpu1"])
    fleet.pass(.seconds(20), .busy(0), .of(1))
    #expect(fleet.starts == ["gpu0", "gpu1"])
    fleet.read(.of(0), .of(1))
    #expect(fleet.starts == ["gpu0", "gpu1", "gpu0"])
  }
}
