import ControlInterface
import PoolCore
import TestSupport
import Testing

@testable import Launching
@testable import Supervisor

/// From the queue's depth to units and back.
@Suite struct ScalingTests {
  @Test func theMinimumIsStartedWithoutADispatcher() async throws {
    let stage = try Stage()
    try await withSupervisor(stage, hasDispatcher: false) { _ in
      try await stage.running("gpu0")
      #expect(stage.launcher.world.orders == ["start gpu0"])
      let status = try await stage.status()
      #expect(!status.dispatcherConnected)
      #expect(status.instances.map(\.state) == [.starting, .absent, .absent, .absent])
    }
  }

  @Test func demandStartsTheOthersInParallel() async throws {
    let stage = try Stage()
    stage.launcher.change { $0.held = ["gpu1", "gpu2", "gpu3"] }
    try await withSupervisor(stage) { _ in
      try await stage.running("gpu0")
      try await stage.tells("gpu0 ready after")
      stage.dispatcher.change {
        $0.leases["gpu0"] = 1
        $0.depth = 7
      }
      try await eventually(within: patience, "three starts at once") { stage.launcher.world.mostStarting == 3 }
      stage.launcher.change { $0.held = [] }
      try await stage.running("gpu0", "gpu1", "gpu2", "gpu3")
      try await eventually(within: patience, "all are core") {
        stage.told(.core) == ["gpu0", "gpu1", "gpu2", "gpu3"]
      }
      try await stage.tells(
        "target 4 (was 1): the requests need 8, but there are placements for 4; 1 ready, 8 requests")
      for id in ["gpu1", "gpu2", "gpu3"] { try await stage.tells("\(id) ready after") }
      let ports = stage.launcher.world.units.values.map(\.port).sorted()
      #expect(ports == [11500, 11501, 11502, 11503])
    }
  }

  @Test func onlyAnInstanceThatStartsAloneTidiesTheModelStoreUp() async throws {
    let stage = try Stage(Stage.fourGPUs.replacing("min: 1", with: "min: 2"))
    try await withSupervisor(stage) { _ in
      try await stage.running("gpu0", "gpu1")
      #expect(stage.launcher.world.specifications.count { $0.prunesStore } == 1, "of two that start at once")
      // The first placement starts while another one may be pulling.
      stage.launcher.end("gpu0", "exit status 1")
      try await eventually(within: patience, "it is started again") {
        stage.launcher.world.specifications.count == 3 && stage.launcher.world.units.count == 2
      }
      #expect(stage.launcher.world.specifications.last?.prunesStore == false)
      let digests = stage.launcher.world.specifications.filter { $0.id == "gpu0" }.map(\.digest)
      #expect(Set(digests).count == 1)
    }
  }

  @Test func theScheduleOfNowBoundsHowManyRun() async throws {
    let schedule = "scaling: {schedule: [{from: 00:00, to: 24:00, min: 3}], "
    let stage = try Stage(Stage.fourGPUs.replacing("scaling: {", with: schedule))
    try await withSupervisor(stage) { _ in
      try await stage.running("gpu0", "gpu1", "gpu2")
      let status = try await stage.status()
      #expect(status.desired == 3 && status.minimum == 3 && status.desiredReason == "the schedule's minimum")
    }
  }

  @Test func surplusStopsOnlyOnceItIsEmptyAndRetired() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      stage.dispatcher.change { $0.depth = 8 }
      try await stage.running("gpu0", "gpu1", "gpu2", "gpu3")
      // The load ends, but gpu0 and two that are surplus still serve.
      stage.dispatcher.change {
        $0.depth = 0
        $0.leases = ["gpu0": 1, "gpu2": 1, "gpu3": 1]
      }
      try await eventually(within: patience, "all four are told of") { stage.dispatcher.world.set.count == 4 }
      stage.dispatcher.change { $0.leases = ["gpu3": 1] }
      try await eventually(within: patience, "those that are empty have stopped") {
        stage.dispatcher.change { _ in }
        return Set(stage.launcher.world.units.keys) == ["gpu0", "gpu3"]
          || Set(stage.launcher.world.units.keys) == ["gpu0", "gpu1", "gpu3"]
      }
      #expect(!stage.launcher.world.orders.contains("stop gpu3"))
      stage.dispatcher.change { $0.leases = [:] }
      try await eventually(within: patience, "one is left") {
        stage.dispatcher.change { _ in }
        return stage.launcher.world.units.count == 1
      }
      let stops = stage.launcher.world.orders.filter { $0.hasPrefix("stop") }.map { String($0.dropFirst(5)) }
      #expect(stops == stage.dispatcher.world.retirements)
      try await stage.tells("stops: surplus, and empty for")
    }
  }
}
