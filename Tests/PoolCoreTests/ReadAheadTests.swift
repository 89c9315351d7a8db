import OrderedCollections
import Testing

@testable import PoolCore

/// Models are read into memory before instances load them, one after the other.
@Suite struct ReadAheadTests {
  private func fleet(gpus: Int = 2, minimum: Int = 1, preload: [String]) -> FleetUnderTest {
    var fleet = FleetUnderTest(gpus: gpus, minimum: minimum, begins: false)
    fleet.fleet.limits.preload = preload
    fleet.fleet.limits.readsAhead = true
    fleet.begin(found: [])
    return fleet
  }

  private func outcome(_ model: String, read: Int = 1 << 30, problem: String? = nil) -> ReadAhead.Outcome {
    ReadAhead.Outcome(model: model, size: 1 << 30, read: read, duration: .seconds(1), problem: problem)
  }

  @Test func aReaderIsSentWithTheStart() {
    var fleet = fleet(preload: ["a:latest", "b:latest"])
    #expect(fleet.starts == ["gpu0"] && fleet.readers == [["a:latest", "b:latest"]])
    // The first is being read, the second's turn comes after it.
    fleet.connect()
    fleet.runs("gpu0")
    #expect(fleet.awaitingTurn == ["b:latest"])
    fleet.perform(fleet.fleet.readerTold(outcome("a:latest"), at: fleet.now))
    #expect(fleet.awaitingTurn.isEmpty)
    #expect(fleet.reports.contains(.modelRead(outcome("a:latest"))))
    fleet.perform(fleet.fleet.readerTold(outcome("b:latest", read: 0), at: fleet.now))
    fleet.perform(fleet.fleet.readerEnded(nil, at: fleet.now))
    #expect(!fleet.reports.contains(.modelRead(outcome("b:latest", read: 0))), "it was in memory: no news")
    #expect(fleet.fleet.readAhead.outcomes["b:latest"]?.read == 0)
    #expect(fleet.readers.count == 1)
  }

  @Test func whatWasReadLatelyIsNotReadAgain() {
    var fleet = fleet(gpus: 3, preload: ["a:latest"])
    fleet.connect()
    fleet.runs("gpu0")
    fleet.perform(fleet.fleet.readerTold(outcome("a:latest"), at: fleet.now))
    fleet.perform(fleet.fleet.readerEnded(nil, at: fleet.now))
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    fleet.advance(.seconds(599))
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    #expect(fleet.readers.count == 1)
    // There is work, and a place for one more instance: it may be needed at any moment.
    fleet.advance(.seconds(5))
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    #expect(fleet.readers == [["a:latest"], ["a:latest"]])
  }

  @Test func withoutWorkNothingIsReadForTheNextOne() {
    var fleet = fleet(gpus: 3, preload: ["a:latest"])
    fleet.connect()
    fleet.runs("gpu0")
    fleet.perform(fleet.fleet.readerEnded(nil, at: fleet.now))
    fleet.observe(demand: 0, idle: ["gpu0": .zero])
    fleet.advance(.seconds(3600))
    fleet.observe(demand: 0, idle: ["gpu0": .seconds(3600)])
    #expect(fleet.readers.count == 1)
  }

  @Test func whatRequestsWaitForComesAfterPreload() {
    var fleet = fleet(gpus: 1, minimum: 0, preload: ["a:latest"])
    fleet.connect()
    #expect(fleet.readers.isEmpty)
    var observation = QueueObservation()
    observation.depth = 3
    observation.peakDemand = 3
    observation.waitingByModel = ["few:latest": 1, "many:latest": 2, "": 1]
    fleet.perform(fleet.fleet.observed(observation, at: fleet.now))
    #expect(fleet.readers == [["a:latest", "many:latest", "few:latest"]])
  }

  @Test func namesThatClientsMakeUpAreTriedNowAndThenAndToldNobody() {
    var fleet = fleet(gpus: 2, minimum: 0, preload: ["a:latest"])
    fleet.connect()
    func ask(_ models: [String: Int], _ fleet: inout FleetUnderTest) {
      var observation = QueueObservation()
      observation.depth = models.count
      observation.peakDemand = models.count
      observation.waitingByModel = models
      fleet.perform(fleet.fleet.observed(observation, at: fleet.now))
    }
    ask(["made-up:latest": 1, "no\nname": 1, "../../etc/passwd": 1], &fleet)
    #expect(fleet.readers == [["a:latest", "made-up:latest"]])
    let none = ReadAhead.Outcome(model: "made-up:latest", size: 0, read: 0, duration: .zero, problem: "no such model")
    let missing = ReadAhead.Outcome(model: "a:latest", size: 0, read: 0, duration: .zero, problem: "no such model")
    fleet.perform(fleet.fleet.readerTold(none, at: fleet.now))
    fleet.perform(fleet.fleet.readerTold(missing, at: fleet.now))
    fleet.perform(fleet.fleet.readerEnded(nil, at: fleet.now))
    #expect(fleet.reports.contains(.modelRead(missing)) && !fleet.reports.contains(.modelRead(none)))
    #expect(fleet.fleet.readAhead.outcomes.keys.sorted() == ["a:latest"])
    fleet.advance(.seconds(4))
    ask(["another:latest": 1], &fleet)
    #expect(fleet.readers.count == 1)
    fleet.advance(.seconds(1))
    ask(["another:latest": 1], &fleet)
    #expect(fleet.readers.last == ["another:latest"])
    fleet.perform(fleet.fleet.readerEnded(nil, at: fleet.now))
    // What is under preload is looked for again soon: its store may not have been there yet.
    fleet.advance(.seconds(54))
    ask(["made-up:latest": 1], &fleet)
    #expect(fleet.readers.count == 2)
    fleet.advance(.seconds(6))
    ask(["made-up:latest": 1], &fleet)
    #expect(fleet.readers.last == ["a:latest"])
  }

  @Test func onlyWhatAPlacementServesIsReadForIt() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1, begins: false)
    fleet.fleet.limits.preload = ["a:latest", "b:latest"]
    fleet.fleet.limits.readsAhead = true
    var reserved = fleet.placement("gpu0", on: "GPU-0")
    reserved.models = ["b:latest"]
    fleet.configure([reserved])
    fleet.begin(found: [])
    #expect(fleet.readers == [["b:latest"]])
  }

  @Test func aReaderThatHangsHoldsNoLoadUp() {
    var fleet = fleet(preload: ["a:latest", "b:latest"])
    fleet.connect()
    fleet.runs("gpu0")
    #expect(fleet.awaitingTurn == ["b:latest"])
    fleet.advance(.seconds(9))
    fleet.perform(fleet.fleet.readerTold(nil, at: fleet.now))
    fleet.advance(.seconds(9))
    fleet.perform(fleet.fleet.tick(at: fleet.now))
    #expect(fleet.awaitingTurn == ["b:latest"], "it lives")
    fleet.advance(.seconds(2))
    fleet.perform(fleet.fleet.tick(at: fleet.now))
    #expect(fleet.awaitingTurn.isEmpty)
    // And no second one is sent beside it, however long it hangs.
    fleet.advance(.seconds(3600))
    fleet.observe(demand: 5, idle: ["gpu0": nil])
    #expect(fleet.readers.count == 1)
  }

  @Test func oneThatCanNotBeSentIsToldAndTriedLater() {
    var fleet = fleet(preload: ["a:latest"])
    fleet.perform(fleet.fleet.readerEnded("no program", at: fleet.now))
    #expect(fleet.reports.contains(.readAheadFailed(reason: "no program")))
    fleet.connect()
    fleet.runs("gpu0")
    #expect(fleet.awaitingTurn.isEmpty && fleet.readers.count == 1)
    fleet.advance(.seconds(601))
    fleet.observe(demand: 2, idle: ["gpu0": nil])
    #expect(fleet.readers.count == 2)
  }

  @Test func withoutTheSettingNothingIsRead() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1, begins: false)
    fleet.fleet.limits.preload = ["a:latest"]
    fleet.begin(found: [])
    #expect(fleet.starts == ["gpu0"] && fleet.readers.isEmpty)
  }

  @Test func theDispatcherLoadsInTurn() {
    var limits = DispatchLimits()
    limits.preload = ["a:latest", "b:latest"]
    var dispatch = Dispatch(limits: limits)
    let wanted = WantedInstance(id: "gpu0", invocation: "i", address: "127.0.0.1:11500")
    var now = Instant.zero
    func set(_ awaiting: Set<String>) -> WantedSet { WantedSet([wanted], awaitingTurn: awaiting) }
    func loads(_ actions: [DispatchAction]) -> [String] {
      actions.compactMap { if case .load(_, _, let model) = $0 { model } else { nil } }
    }
    _ = dispatch.setInstances(set(["a:latest", "b:latest"]), session: 1, at: now)
    now = now + .seconds(1)
    #expect(loads(dispatch.probeEnded("gpu0", "i", .answered, at: now)).isEmpty)
    #expect(loads(dispatch.setInstances(set(["a:latest"]), session: 1, at: now)) == ["b:latest"])
    now = now + .seconds(3)
    #expect(loads(dispatch.loadEnded("gpu0", "i", model: "b:latest", failure: nil, at: now)).isEmpty)
    // What another session says does not free it; the end of the one that said so does.
    #expect(loads(dispatch.sessionEnded(2, at: now)).isEmpty)
    #expect(loads(dispatch.sessionEnded(1, at: now)) == ["a:latest"])
    now = now + .seconds(5)
    _ = dispatch.loadEnded("gpu0", "i", model: "a:latest", failure: nil, at: now)
    let seen = dispatch.observation(at: now).instances[0]
    #expect(seen.health == .healthy && seen.firstAnswerAfter == .seconds(1))
    #expect(
      seen.loads == [
        TimedLoad(model: "b:latest", duration: .seconds(3)), TimedLoad(model: "a:latest", duration: .seconds(5)),
      ])
  }

  @Test func startsAreMeasuredInTheirParts() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.connect()
    fleet.advance(.milliseconds(40))
    fleet.runs("gpu0")
    fleet.advance(.seconds(21))
    var observation = QueueObservation()
    let invocation = fleet.fleet.placements["gpu0"]?.running?.unit.invocation
    observation.instances = [
      InstanceObservation(
        id: "gpu0", invocation: invocation ?? "", health: .healthy, firstAnswerAfter: .seconds(1),
        loads: [TimedLoad(model: "a:latest", duration: .seconds(20))])
    ]
    fleet.perform(fleet.fleet.observed(observation, at: fleet.now))
    let times = fleet.fleet.placements["gpu0"]?.history.startTimes
    #expect(times?.count == 1 && times?.unit.median(assumed: .zero) == .milliseconds(40))
    #expect(times?.discovery.median(assumed: .zero) == .seconds(1))
    #expect(times?.loads["a:latest"]?.median(assumed: .zero) == .seconds(20))
    #expect(times?.total.median(assumed: .zero) == .milliseconds(21_040))
    // Another program, or another configuration, starts in another time.
    fleet.change(specification: "new")
    #expect(fleet.fleet.placements["gpu0"]?.history.startTimes.count == 0)
  }
}
