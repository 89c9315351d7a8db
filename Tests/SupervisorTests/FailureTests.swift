import ControlInterface
import Foundation
import PoolCore
import TestSupport
import Testing

@testable import Supervisor

/// What can't be started, ends by itself, or can't be stopped.
@Suite struct FailureTests {
  @Test func aFailedStartIsTriedAgainOnTheNextPortAndAnotherGPUHelpsOut() async throws {
    let stage = try Stage()
    stage.launcher.change { $0.failures["gpu0"] = ["address already in use", "address already in use"] }
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 failed: address already in use; next try in ")
      try await stage.running("gpu1")
      stage.dispatcher.change { $0.depth = 8 }
      try await eventually(within: patience, "gpu0 runs at last") { stage.launcher.world.units["gpu0"] != nil }
      #expect(stage.launcher.world.units["gpu0"]?.port == 11508)
    }
  }

  @Test func failedStartsAreCountedAlsoOfWhatTheDispatcherNeverSaw() async throws {
    let stage = try Stage(Stage.fourGPUs + "health: {start_timeout: 3s}\n")
    func counts(_ failures: Int) async throws {
      try await eventually(within: patience, "\(failures) failures are reported") {
        stage.dispatcher.world.report?.failedStarts == failures
      }
    }
    stage.launcher.change { $0.failures["gpu0"] = ["exit status 203 (EXEC)"] }
    try await withSupervisor(stage) { daemon in
      try await stage.tells("ready after")
      try await counts(1)
      // One that was ready has not failed to start.
      let first = try #require(stage.launcher.world.units.keys.first)
      stage.dispatcher.change { $0.slow = ["gpu0", "gpu1", "gpu2", "gpu3"] }
      stage.launcher.end(first, "killed by SIGKILL")
      try await stage.tells("\(first) failed: killed by SIGKILL")
      #expect(await daemon.fleet.failedStarts == 1)
      // But one that never gets ready has.
      try await stage.tells("not ready after 3 s")
      try await eventually(within: patience, "it is counted") { await daemon.fleet.failedStarts >= 2 }
      try await eventually(within: patience, "and reported") { stage.dispatcher.world.report?.failedStarts ?? 0 >= 2 }
      try #require(rename(stage.ollama, stage.ollama + ".away") == 0)
      let before = await daemon.fleet.failedStarts
      try await stage.tells("does not exist; correct the key ollama")
      try await eventually(within: patience, "a missing program is a failed start") {
        await daemon.fleet.failedStarts > before
      }
    }
  }

  @Test func whatKeepsFailingIsQuarantinedWithItsReason() async throws {
    let stage = try Stage()
    stage.launcher.change {
      for id in ["gpu0", "gpu1", "gpu2"] { $0.failures[InstanceID(id)] = Array(repeating: "exit status 1", count: 9) }
    }
    try await withSupervisor(stage) { _ in
      stage.dispatcher.change { $0.depth = 8 }
      try await eventually(within: patience, "three are in quarantine") {
        try await stage.status().instances.map(\.state) == [.quarantined, .quarantined, .quarantined, .ready]
      }
      let gpu0 = try await stage.status().instances[0]
      #expect(gpu0.reason == "exit status 1" && gpu0.failures == 3 && gpu0.retryInSeconds ?? 0 > 3000)
      try await stage.tells("gpu0 is in quarantine for 60 min: 3 failures in a row, the last: exit status 1")
      stage.launcher.change { $0.failures = [:] }
      try await stage.order(.uncordonGPU, SupervisorCalls.UncordonGPU(gpu: "gpu0"))
      try await eventually(within: patience, "an operator ends the quarantine") {
        stage.launcher.world.units["gpu0"] != nil
      }
    }
  }

  @Test func whatFailedWhileSystemdWasAwayIsTriedAgainWhenItIsBack() async throws {
    let stage = try Stage("gpus: cpu\nrestarts: {pause: 1h, pause_max: 1h}\n")
    stage.launcher.change { $0.failures["cpu0"] = ["systemd can't be reached"] }
    try await withSupervisor(stage) { _ in
      try await stage.tells("cpu0 failed: systemd can't be reached; next try in 60 min")
      stage.launcher.reconnect()
      try await stage.tells("cpu0 ready")
    }
  }

  @Test func anEndBeforeTheStartCameBackIsNotMissed() async throws {
    let stage = try Stage("gpus: cpu\nrestarts: {pause: 1h, pause_max: 1h}\n")
    stage.launcher.change { $0.dyingEarly["cpu0"] = "exit status 3" }
    try await withSupervisor(stage) { _ in
      try await eventually(within: patience, "it backs off") {
        try await stage.status().instances.map(\.state) == [.backingOff]
      }
      #expect(stage.launcher.world.orders == ["start cpu0", "start cpu0"])
      try await stage.tells("cpu0 failed: exit status 3; next try in 60 min (2 failures in a row)")
    }
  }

  @Test func anInstanceThatDiesIsReplacedAtOnce() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      stage.launcher.end("gpu0", "killed by signal 9")
      try await eventually(within: patience, "another one runs") { stage.launcher.world.units.count == 1 }
      try await stage.tells("gpu0 failed: killed by signal 9; to be tried again at once")
    }
  }

  @Test func whatCannotBeStoppedIsStoppedLater() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      stage.launcher.change { $0.refusedStops = 1 }
      try await stage.order(.drainInstance, SupervisorCalls.InstanceOrder(id: "gpu0"))
      try await stage.tells("gpu0 can't be stopped: systemd does not answer; tried again in 1 s")
      try await eventually(within: patience, "it is stopped at last") { stage.launcher.world.units["gpu0"] == nil }
    }
  }

  @Test func anEndThatWasMissedIsLookedForAgain() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      stage.launcher.change { $0.missedEnds = 1 }
      stage.dispatcher.change { $0.idleSeconds = 0 }
      try await stage.order(.restartInstance, SupervisorCalls.InstanceOrder(id: "gpu0"))
      try await stage.tells("gpu0 has stopped")
      try await eventually(within: patience, "it runs again") { stage.launcher.world.units["gpu0"] != nil }
    }
  }

  @Test func withoutAProgramNothingStartsUntilItIsThere() async throws {
    let stage = try Stage("gpus: cpu\nrestarts: {pause: 50ms, pause_max: 50ms, quarantine_after: 100}\n")
    try FileManager.default.removeItem(atPath: stage.ollama)
    try await withSupervisor(stage) { _ in
      try await stage.tells(
        "err ollama-pool-supervisor: nothing can be started: ollama: \(stage.ollama) does not exist")
      try await stage.tells("cpu0 failed: ollama: \(stage.ollama) does not exist")
      let status = try await stage.status()
      #expect(status.problems.contains { $0.contains("does not exist") })
      // All at once: without its permissions it would be another thing to complain of.
      let program = try stage.folder.write("#!/bin/sh\n", to: "ollama.new", permissions: 0o755)
      try FileManager.default.moveItem(atPath: program, toPath: stage.ollama)
      try await stage.running("cpu0")
      #expect(try await stage.status().problems == [])
      #expect(stage.journal.count { $0.contains("nothing can be started") } == 1)
    }
  }
}
