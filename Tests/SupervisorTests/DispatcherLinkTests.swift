import ControlInterface
import PoolCore
import TestSupport
import Testing

@testable import Supervisor

/// What becomes of the instances when the dispatcher goes, comes, refuses, or keeps silent.
@Suite struct DispatcherLinkTests {
  @Test func aDispatcherThatComesBackIsToldTheWholeSetAgain() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      stage.dispatcher.change { $0.depth = 4 }
      try await eventually(within: patience, "four are told of") { stage.told(.core).count == 4 }
      let before = stage.launcher.world.units
      await stage.dispatcher.stop()
      try await stage.tells("dispatcher lost: ")
      try await eventually(within: patience, "it is missed") { try await !stage.status().dispatcherConnected }
      stage.dispatcher.change { $0.depth = 0 }
      try await stage.startDispatcher()
      try await eventually(within: patience, "four are told of again") { stage.dispatcher.world.set.count == 4 }
      #expect(stage.launcher.world.units == before)
      #expect(stage.journal.count { $0.contains("dispatcher found") } == 2)
    }
  }

  @Test func withoutADispatcherNothingShrinks() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { daemon in
      stage.dispatcher.change { $0.depth = 8 }
      try await eventually(within: patience, "four are told of") { stage.told(.core).count == 4 }
      await stage.dispatcher.stop()
      try await stage.tells("dispatcher lost")
      // Longer than window and idle hold together: ticks go by, which is what it takes to shrink.
      let since = await daemon.ticks
      try await eventually(within: patience, "three ticks") { await daemon.ticks >= since + 3 }
      #expect(stage.launcher.world.units.count == 4)
      #expect(!stage.launcher.world.orders.contains { $0.hasPrefix("stop") })
    }
  }

  @Test func aDispatcherThatRefusesIsAskedAgainMuchLater() async throws {
    let stage = try Stage()
    stage.dispatcher.change { $0.refusesSets = true }
    try await withSupervisor(stage) { daemon in
      try await stage.tells("dispatcher lost: it refuses: ")
      let since = await daemon.ticks
      try await eventually(within: patience, "two ticks") { await daemon.ticks >= since + 2 }
      #expect(stage.journal.count { $0.contains("dispatcher found") } == 1)
    }
  }

  @Test func aDispatcherThatFindsOneOrderWrongIsAskedAgainSoon() async throws {
    let stage = try Stage()
    stage.dispatcher.change { $0.wrongSets = 1 }
    try await withSupervisor(stage) { _ in
      try await stage.tells("dispatcher lost: it refuses: ")
      // Much less than the pause after a refusal for good.
      try await eventually(within: .seconds(20), "the next set is taken") { stage.told(.core) == ["gpu0"] }
    }
  }

  @Test func aDispatcherThatFindsTheSameOrderWrongOverAndOverIsToldOfOnceAndAskedLessAndLess() async throws {
    let stage = try Stage()
    stage.dispatcher.change { $0.wrongSets = 2 }
    let begin = ContinuousClock.now
    try await withSupervisor(stage) { _ in
      // After 1 and 2 s, and once the session has lasted.
      try await eventually(within: patience, "the third set is taken") { stage.told(.core) == ["gpu0"] }
      #expect(ContinuousClock.now - begin > .seconds(2.9))
      #expect(stage.journal.count { $0.contains("dispatcher lost: it refuses: ") } == 1)
      #expect(stage.journal.count { $0.contains("dispatcher found") } == 1)
      try await eventually(within: patience, "it is told as found again") {
        stage.dispatcher.change { _ in }
        return stage.journal.count { $0.contains("dispatcher found") } == 2
      }
      await stage.dispatcher.stop()
      try await eventually(within: patience, "its end is another one") {
        stage.journal.count { $0.contains("dispatcher lost: ") } == 2
      }
    }
  }

  @Test func aSilentDispatcherIsGivenUp() async throws {
    let stage = try Stage()
    try await stage.startDispatcher()
    let daemon = try await stage.start(silence: .milliseconds(300))
    try await stage.tells("dispatcher found")
    stage.dispatcher.change { $0.isSilent = true }
    try await stage.tells("dispatcher lost: it has said nothing for 0.3 s")
    stage.dispatcher.change { $0.isSilent = false }
    try await eventually(within: patience, "it is found again") {
      stage.journal.count { $0.contains("dispatcher found") } >= 2
    }
    await daemon.stop(instances: .stop)
    await stage.dispatcher.stop()
  }

  @Test func aDispatcherThatDrainedMayGo() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { daemon in
      try await stage.tells("dispatcher found")
      stage.dispatcher.change { $0.isDraining = true }
      try await eventually(within: patience, "the supervisor has heard of it") {
        await daemon.fleet.observation?.isDraining == true
      }
      await stage.dispatcher.stop()
      try await stage.tells("info ollama-pool-supervisor: dispatcher has drained and ended")
      #expect(!stage.journal.contains { $0.contains("dispatcher lost") })
    }
  }

  @Test func aDispatcherThatHangsWhileItDrainsIsToldOf() async throws {
    let stage = try Stage()
    try await stage.startDispatcher()
    let daemon = try await stage.start(silence: .milliseconds(300))
    try await stage.tells("dispatcher found")
    stage.dispatcher.change { $0.isDraining = true }
    try await eventually(within: patience, "the supervisor has heard of it") {
      await daemon.fleet.observation?.isDraining == true
    }
    stage.dispatcher.change { $0.isSilent = true }
    try await stage.tells("dispatcher lost: it has said nothing for 0.3 s")
    #expect(!stage.journal.contains { $0.contains("has drained and ended") })
    await daemon.stop(instances: .stop)
    await stage.dispatcher.stop()
  }

  @Test func anInstanceThatTheDispatcherGivesUpIsKilledAndReplaced() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      let first = stage.launcher.world.units["gpu0"]
      // What it held has been taken from it.
      stage.dispatcher.change { $0.broken["gpu0"] = "a stream stood still for 30 s" }
      try await eventually(within: patience, "it is killed") { stage.launcher.world.orders.contains("kill gpu0") }
      stage.dispatcher.change { $0.broken = [:] }
      try await eventually(within: patience, "another one runs") {
        stage.launcher.world.units.count == 1 && stage.launcher.world.units["gpu0"] != first
      }
      try await stage.tells("gpu0 stops: unhealthy: a stream stood still for 30 s")
    }
  }
}
