import OrderedCollections
import PoolCore
import Testing

/// Beside others, or leaving the GPU to them.
@Suite struct YieldTests {
  private static func yielding(_ count: Int, of gpus: Int) -> FleetUnderTest {
    .running(count, of: gpus) { $0.yieldToOthers = true }
  }

  @Test func whatRunsGoesOnBesideOthersUnlessItIsToYieldAndThatIsShown() {
    var fleet = FleetUnderTest.running(1)
    fleet.pass(.seconds(60), .busy(0, ours: [.ours("gpu0")]))
    #expect(fleet.roles == ["gpu0": .core])
    #expect(fleet.fleet.note(on: "gpu0", at: fleet.now) == "GPU-0 is used by python3 (process 4711) with 5 GiB")
  }

  @Test func whenOthersStayTheInstanceDrainsAndStopsAndAnotherStartsElsewhere() {
    var fleet = Self.yielding(1, of: 2)
    fleet.read(.of(0), .of(1))
    fleet.pass(.seconds(12), .busy(0, ours: [.ours("gpu0")]), .of(1))
    #expect(fleet.roles == ["gpu0": .draining] && fleet.retirements == ["gpu0"])
    #expect(fleet.starts == ["gpu0", "gpu1"])
    let reason = DrainReason.yields(to: "python3 (process 4711)")
    #expect(fleet.reports.filter { $0 == .draining("gpu0", reason) }.count == 1)
    fleet.answer("gpu0", .retired)
    #expect(fleet.kills.isEmpty && fleet.reports.contains(.stopping("gpu0", .drained(reason))))
    fleet.dies("gpu0")
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == 0)
  }

  @Test func othersWhoComeAndGoAreNoReasonToLeave() {
    var fleet = Self.yielding(1, of: 1)
    for _ in 0..<20 {
      fleet.pass(.seconds(8), .busy(0, ours: [.ours("gpu0")]))
      fleet.pass(.seconds(2), .of(0, used: 10, by: [.ours("gpu0")]))
    }
    #expect(fleet.roles == ["gpu0": .core])
  }

  @Test func itGoesOnWhenTheyHaveBeenGoneForAWhileBeforeItHasStopped() {
    var fleet = Self.yielding(1, of: 1)
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    fleet.pass(.seconds(14), .busy(0, ours: [.ours("gpu0")]))
    #expect(fleet.draining == ["gpu0"])
    fleet.pass(.seconds(10), .of(0, used: 10, by: [.ours("gpu0")]))
    #expect(fleet.draining == ["gpu0"])
    fleet.pass(.seconds(2), .of(0, used: 10, by: [.ours("gpu0")]))
    #expect(fleet.roles == ["gpu0": .core])
    #expect(fleet.reports.filter { $0 == .goesOn("gpu0") }.count == 1)
  }

  @Test func afterItHasStoppedTheGPUIsTakenBackOnlyOnceTheyHaveBeenGoneForAWhile() {
    var fleet = Self.yielding(1, of: 1)
    fleet.pass(.seconds(14), .busy(0, ours: [.ours("gpu0")]))
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    fleet.pass(.seconds(60), .busy(0))
    fleet.pass(.seconds(10), .of(0))
    #expect(fleet.starts.count == 1 && fleet.obstacle("gpu0") == .busy(gpu: "GPU-0", by: []))
    fleet.pass(.seconds(2), .of(0))
    #expect(fleet.starts.count == 2)
  }

  @Test func whereNothingIsReadAnyMoreNobodyIsWaitedFor() {
    var fleet = Self.yielding(1, of: 1)
    fleet.observe(demand: 1, idle: ["gpu0": nil])
    fleet.pass(.seconds(14), .busy(0, ours: [.ours("gpu0")]))
    #expect(fleet.draining == ["gpu0"])
    fleet.advance(.seconds(31))
    #expect(fleet.draining.isEmpty)
  }
}
