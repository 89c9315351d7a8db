import OrderedCollections
import PoolCore
import Testing

/// The one instance through which the model store is changed.
@Suite struct StoreWriterTests {
  @Test func exactlyOneWritesTheOldestAndAnotherTakesOverWhenItIsGone() {
    var fleet = FleetUnderTest.running(3)
    #expect(fleet.writers == ["gpu0"] && fleet.told.allSatisfy { $0.writesStore != nil })
    fleet.dies("gpu0")
    #expect(fleet.writers == ["gpu1"])
    fleet.runs("gpu0")
    fleet.observe(references: [], ready: ["gpu0", "gpu1", "gpu2"])
    #expect(fleet.writers == ["gpu1"], "the one that has it keeps it")
  }

  @Test func whatHoldsAReferenceKeepsItAlsoWhileItDrains() throws {
    var fleet = FleetUnderTest.running(2)
    fleet.observe(references: ["gpu0"], ready: ["gpu1"])
    try fleet.drain("gpu0")
    #expect(fleet.writers == ["gpu0"])
    // A session that begins has nothing counted yet.
    fleet.lose()
    fleet.connect()
    #expect(fleet.writers == ["gpu0"])
    fleet.observe(references: ["gpu0"], ready: ["gpu1"])
    #expect(fleet.writers == ["gpu0"])
    fleet.observe(references: [], ready: ["gpu0", "gpu1"])
    #expect(fleet.writers == ["gpu1"])
  }

  @Test func anUnhealthyOneThatHoldsNothingHandsOver() {
    var fleet = FleetUnderTest.running(2)
    fleet.observe(condemned: "gpu0", references: 1)
    #expect(fleet.writers == ["gpu0"])
    fleet.observe(unhealthy: "gpu0", since: .seconds(1))
    #expect(fleet.writers == ["gpu1"])
  }

  @Test func theOneThatWritesIsTheLastToBeSurplus() throws {
    var fleet = FleetUnderTest(gpus: 2, minimum: 1, window: .seconds(10), idleHold: .seconds(20))
    fleet.runs("gpu0")
    fleet.connect()
    fleet.observe(demand: 2, idle: ["gpu0": nil])
    fleet.runs("gpu1")
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
    try fleet.drain("gpu0")
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
    #expect(fleet.writers == ["gpu1"])
    try fleet.uncordon("gpu0")
    fleet.advance(.seconds(11))
    fleet.observe(demand: 0, idle: ["gpu0": .seconds(30), "gpu1": .seconds(30)])
    #expect(fleet.roles == ["gpu0": .surplus, "gpu1": .core] && fleet.retirements == ["gpu0"])
  }

  @Test func theModelsThatAreConfiguredAreToldAndWhenTheyChange() {
    var fleet = FleetUnderTest.running(1)
    #expect(fleet.servedModels == nil)
    fleet.fleet.limits.servedModels = ["a", "b"]
    fleet.advance(.seconds(1))
    #expect(fleet.servedModels == ["a", "b"] && fleet.told.map(\.id) == ["gpu0"])
  }

  @Test func aStoreThatIsNotOursNobodyWritesAndTheReasonIsTold() {
    var fleet = FleetUnderTest.running(2) { $0.storeRefusal = "it belongs to ollama.service" }
    #expect(fleet.writers.isEmpty && fleet.storeRefusal == "it belongs to ollama.service")
    #expect(fleet.told.allSatisfy { $0.writesStore == false })
    fleet.fleet.limits.storeRefusal = nil
    fleet.advance(.seconds(1))
    #expect(fleet.writers == ["gpu0"] && fleet.storeRefusal == nil)
    fleet.fleet.limits.storeRefusal = "it is read-only"
    fleet.advance(.seconds(1))
    #expect(fleet.writers.isEmpty && fleet.storeRefusal == "it is read-only")
  }

  // MARK: The way out to the network

  @Test func theNetworkIsOpenedBeforeTheDispatcherIsToldAndClosedLongAfter() throws {
    var fleet = FleetUnderTest.running(2) { $0.networkIsForWriterOnly = true }
    #expect(fleet.said.drop { $0 == "set" }.prefix(2) == ["open gpu0", "set"])
    fleet.observe(demand: 1, idle: ["gpu0": nil, "gpu1": .zero])
    fleet.said = []
    try fleet.drain("gpu0")
    #expect(fleet.said == ["open gpu1", "set"])
    fleet.advance(.seconds(9))
    #expect(!fleet.said.contains("close gpu0"))
    // It was given a pull before the dispatcher heard that it drains.
    fleet.observe(references: ["gpu0"], ready: ["gpu1"])
    fleet.advance(.seconds(100))
    #expect(!fleet.said.contains("close gpu0"))
    fleet.observe(demand: 1, idle: ["gpu0": nil, "gpu1": .zero])
    #expect(fleet.said.filter { $0 == "close gpu0" }.count == 1)
    #expect(fleet.writers == ["gpu1"])
  }

  @Test func ofThoseThatStartTheFirstThatIsReadyWritesAndNoOtherGetsAWayOut() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2)
    fleet.fleet.limits.networkIsForWriterOnly = true
    fleet.connect()
    fleet.runs("gpu0")
    fleet.runs("gpu1")
    fleet.observe(references: [], ready: [])
    #expect(fleet.writers.isEmpty)
    fleet.observe(references: [], ready: ["gpu1"])
    fleet.observe(references: [], ready: ["gpu0", "gpu1"])
    #expect(fleet.writers == ["gpu1"] && fleet.said.filter { $0.hasPrefix("open") } == ["open gpu1"])
  }

  @Test func aFailedOrderIsGivenAgainAfterAPauseWhileItIsStillWanted() throws {
    var fleet = FleetUnderTest.running(2) { $0.networkIsForWriterOnly = true }
    func orders() -> [String] { fleet.said.filter { $0.hasPrefix("open") || $0.hasPrefix("close") } }
    func invocation(_ id: InstanceID) -> InvocationID { fleet.fleet.placements[id]!.running!.unit.invocation }
    #expect(orders() == ["open gpu0"])
    fleet.fleet.networkNotChanged("gpu0", invocation("gpu0"), open: true, at: fleet.now)
    fleet.advance(.seconds(4))
    #expect(orders() == ["open gpu0"])
    fleet.advance(.seconds(1))
    #expect(orders() == ["open gpu0", "open gpu0"])
    // What is said of another life, or of an order that another has followed, is nothing.
    fleet.fleet.networkNotChanged("gpu0", "another", open: true, at: fleet.now)
    fleet.fleet.networkNotChanged("gpu0", invocation("gpu0"), open: false, at: fleet.now)
    fleet.advance(.seconds(60))
    #expect(orders().count == 2)

    // Another writes, and it can't be closed: nobody knows whether it is open, when it is to write again.
    fleet.observe(demand: 1, idle: ["gpu0": nil, "gpu1": .zero])
    try fleet.drain("gpu0")
    fleet.observe(references: [], ready: ["gpu0", "gpu1"])
    fleet.advance(.seconds(10))
    #expect(orders().suffix(2) == ["open gpu1", "close gpu0"])
    fleet.fleet.networkNotChanged("gpu0", invocation("gpu0"), open: false, at: fleet.now)
    try fleet.uncordon("gpu0")
    fleet.dies("gpu1")
    #expect(fleet.writers == ["gpu0"] && orders().last == "open gpu0")
  }

  @Test func whatAnEarlierSupervisorLetWriteGoesOn() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2, begins: false)
    fleet.fleet.limits.networkIsForWriterOnly = true
    let units: [InstanceID: RunningInstance.Unit] = ["gpu0": false, "gpu1": true].reduce(into: [:]) { units, unit in
      units[InstanceID(unit.key)] = RunningInstance.Unit(
        invocation: InvocationID(unit.key), mainPID: 1, address: "127.0.0.1:1", specification: "old",
        hasNetwork: unit.value)
    }
    fleet.perform(fleet.fleet.began(found: units, at: fleet.now))
    fleet.connect()
    #expect(fleet.writers == ["gpu1"] && !fleet.said.contains("open gpu1"))
  }

  @Test func networksThatNobodyNeedsAreClosed() {
    var fleet = FleetUnderTest(gpus: 2, minimum: 2, begins: false)
    fleet.fleet.limits.networkIsForWriterOnly = true
    let units: [InstanceID: RunningInstance.Unit] = ["gpu0", "gpu1"].reduce(into: [:]) { units, name in
      units[InstanceID(name)] = RunningInstance.Unit(
        invocation: InvocationID(name), mainPID: 1, address: "127.0.0.1:1", specification: "old", hasNetwork: true)
    }
    fleet.perform(fleet.fleet.began(found: units, at: fleet.now))
    fleet.connect()
    fleet.observe(references: [], ready: ["gpu0", "gpu1"])
    fleet.advance(.seconds(10))
    #expect(fleet.said.filter { $0.hasPrefix("close") } == ["close gpu1"])
  }
}
