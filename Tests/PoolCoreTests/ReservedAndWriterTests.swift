import OrderedCollections
import PoolCore
import Testing

/// Instances that are meant for some models only, and the one through which the model store is changed.
@Suite struct ReservedAndWriterTests {
  @Test func aModelForWhichNoPlacementIsMeantIsRefusedAtOnce() {
    var pool = PoolUnderTest(instances: 2, models: [["a"], ["a", "b"]])
    pool.arrive(1, "c")
    #expect(pool.ended == [1: .failed(.modelNotServed)])
    pool.arrive(2, "b")
    pool.arrive(3, nil)
    #expect(pool.places == ["gpu1", "gpu0"])
  }

  @Test func theInstanceOfAPlacementIsWaitedForHoweverLongItTakes() {
    var pool = PoolUnderTest(instances: 2, models: [["a"], ["b"]])
    pool.set(session: 1, order: [0])
    pool.arrive(1, "b")
    pool.advance(.seconds(3600))
    #expect(pool.ended.isEmpty && pool.dispatch.depth == 1)
    pool.set(session: 1, order: [0, 1])
    pool.answerProbes()
    #expect(pool.started == [1])
  }

  @Test func whatWaitsForAModelThatIsConfiguredNoMoreIsRefused() {
    var pool = PoolUnderTest(instances: 2, models: [["a"], ["b"]])
    pool.set(session: 1, order: [0])
    pool.arrive(1, "b")
    pool.servedModels = ["a"]
    pool.set(session: 1, order: [0])
    #expect(pool.ended == [1: .failed(.modelNotServed)] && pool.dispatch.depth == 0)
  }

  @Test func wherePlacementsAreUnknownOrOneIsForAllModelsNothingIsRefused() {
    var none = PoolUnderTest(instances: 0)
    none.arrive(1, "c")
    none.advance(.seconds(600))
    #expect(none.ended.isEmpty)
    var any = PoolUnderTest(instances: 2, models: [["a"], []])
    any.arrive(1, "c")
    #expect(any.places == ["gpu1"])
  }

  @Test func aRequestPassesThoseThatItsInstanceIsNotMeantFor() {
    var pool = PoolUnderTest(instances: 2, models: [["a"], ["b"]])
    for number: UInt64 in 1...3 { pool.arrive(number, "a") }
    pool.arrive(4, "b")
    #expect(pool.started == [1, 4])
    pool.arrive(5, "b")
    pool.end(4)
    #expect(pool.started == [1, 4, 5])
  }

  // MARK: The model store

  @Test func whatChangesTheStoreGoesThroughTheOneThatIsMeantTo() {
    var pool = PoolUnderTest(instances: 3, writer: 1)
    pool.arrive(1, need: .storeReference)
    pool.arrive(2, need: .storeReference)
    #expect(pool.places == ["gpu1", "gpu1"])
    #expect(pool.fail(1, .broken) == .wait)
    #expect(pool.places.last == "gpu1")
    // Nobody else could do better.
    #expect(pool.fail(2, .status(500)) == .passOn)
  }

  @Test func itWaitsForThatOne() {
    var pool = PoolUnderTest(instances: 2, writer: 1)
    pool.set(session: 1, roles: [1: .draining])
    pool.arrive(1, need: .storeReference)
    pool.arrive(2, need: .reference)
    #expect(pool.started == [2] && pool.dispatch.depth == 1)
    pool.set(session: 1, roles: [1: .surplus])
    #expect(pool.places == ["gpu0", "gpu1"])
  }

  @Test func whatLeavesTheMachineGoesThroughTheOneWithANetworkAndTakesNoSlot() {
    var pool = PoolUnderTest(instances: 3, writer: 1)
    for number: UInt64 in 1...3 { pool.arrive(number, need: .networkReference) }
    #expect(pool.places == ["gpu1", "gpu1", "gpu1"] && pool.dispatch.maxConcurrent == 3)
    #expect(pool.dispatch.instances["gpu1"]?.leases.isEmpty == true)
    // Nobody else could do better.
    #expect(pool.fail(1, .status(502)) == .passOn)
    pool.set(session: 1, roles: [1: .draining], writer: 1)
    pool.arrive(4, need: .networkReference)
    // It holds up nobody else.
    pool.arrive(5, need: .reference)
    #expect(pool.started.last == 5 && pool.dispatch.depth == 1)
    pool.set(session: 1, writer: 2)
    #expect(pool.places.last == "gpu2")
  }

  @Test func whereTheStoreIsOthersEveryInstanceIsAsGoodForIt() {
    var pool = PoolUnderTest(instances: 2, writer: 5)
    pool.arrive(1, need: .networkReference)
    #expect(pool.started.isEmpty)
    pool.refuseStore(session: 1)
    #expect(pool.started == [1] && pool.ended.isEmpty)
    var unchosen = PoolUnderTest(instances: 2)
    for number: UInt64 in 1...2 { unchosen.arrive(number, need: .networkReference) }
    #expect(unchosen.places == ["gpu0", "gpu1"])
  }

  @Test func theNextWriterWaitsForTheLastOfTheOneBefore() {
    var pool = PoolUnderTest(instances: 2, writer: 0)
    pool.arrive(1, need: .storeReference)
    pool.set(session: 1, writer: 1)
    pool.arrive(2, need: .storeReference)
    #expect(pool.places == ["gpu0"])
    pool.end(1)
    #expect(pool.places == ["gpu0", "gpu1"])
  }

  @Test func whereNoneIsMeantToItWaits() {
    var pool = PoolUnderTest(instances: 1, writer: 5)
    pool.arrive(1, need: .storeReference)
    #expect(pool.started.isEmpty && pool.dispatch.depth == 1)
  }

  @Test func whatWaitsIsRefusedWhenTheStoreMustNotBeChanged() {
    var pool = PoolUnderTest(instances: 1, writer: 0)
    pool.arrive(1, need: .storeReference)
    pool.set(session: 1, roles: [0: .draining])
    pool.arrive(2, need: .storeReference)
    pool.refuseStore(session: 1)
    // What an instance has already goes on.
    #expect(pool.ended == [2: .failed(.storeRefused)])
    #expect(pool.dispatch.requests.count == 1)
    pool.arrive(3, need: .storeReference)
    #expect(pool.ended[3] == .failed(.storeRefused))
    pool.arrive(4, need: .reference)
    #expect(pool.ended[4] == nil)
    // Put back, it would wait for an instance that nobody means to write.
    #expect(pool.fail(1, .broken) == .wait)
    pool.advance(.seconds(1))
    #expect(pool.ended[1] == .failed(.storeRefused))
  }
}
