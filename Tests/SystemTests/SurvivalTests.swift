import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Every part of the pool dies in turn, with streams running.
  @Suite(.serialized) struct SurvivalTests {
    static let two = "scaling: {min: 2, cold_start: 1s, window: 2s, idle_hold: 1s}"

    @Test func aKilledSupervisorCostsNothingAndTheNewOneAdoptsTheUnits() async throws {
      try await InstalledPool.running(Self.two) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 200)
        try await pool.kill("SIGKILL", "ollama-pool-supervisor.service")
        try await pool.status("the supervisor is back with the same instances") { status in
          status.running.map(\.mainPID) == before.running.map(\.mainPID) && status.maxConcurrent == 2
        }
        let answer = try await Conversation.finish(stream)
        #expect(answer.isDone && answer.tokens >= 199)
        #expect(try await pool.instanceUnits().count == 2)
      }
    }

    @Test func aKilledDispatcherBreaksItsStreamsAloneAndServesWithinASecondOfItsReturn() async throws {
      try await InstalledPool.running(Self.two) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 2_000)
        try await pool.kill("SIGKILL", "ollama-pool-dispatcher.service")
        // This connection waits in the socket that systemd holds.
        let sent = ContinuousClock.now
        let answer = try await Conversation.chat(tokens: 2)
        #expect(answer.status == 200 && answer.isDone)
        #expect(answer.firstByteAt - sent < .seconds(5))
        let cut = try? await Conversation.finish(stream, within: .seconds(5))
        #expect(cut?.isDone != true)
        let after = try await pool.ready(2)
        #expect(after.running.map(\.mainPID) == before.running.map(\.mainPID))
      }
    }

    @Test func aDispatcherThatCrashesOverAndOverNeverLosesItsSockets() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        for round in 0..<8 {
          let old = try await pool.mainPID(of: "ollama-pool-dispatcher.service")
          try await pool.kill("SIGKILL", "ollama-pool-dispatcher.service")
          try await eventually("dispatcher \(round + 1) runs") {
            let new = try await pool.mainPID(of: "ollama-pool-dispatcher.service")
            return new != 0 && new != old
          }
        }
        let answer = try await Conversation.chat(tokens: 2)
        #expect(answer.isDone)
        #expect(try await pool.property("ActiveState", of: "ollama-pool-dispatcher.socket") == "active")
      }
    }

    @Test func aKilledInstanceEndsItsStreamWithAnErrorLineAndIsReplacedWithAllItsChildren() async throws {
      try await InstalledPool.running { pool in
        let before = try await pool.ready(1)
        let stream = try await Conversation.begun(tokens: 2_000)
        let waiting = Task { try await Conversation.chat(tokens: 2) }
        try await pool.status("one runs, one waits") { $0.queueDepth + $0.inFlight == 2 }
        let children = try await pool.processes(named: "ollama-simulator")
        try await pool.kill("SIGKILL", "ollama-instance-gpu0.service")
        let cut = try await Conversation.finish(stream)
        #expect(cut.status == 200 && cut.hasErrorLine && !cut.isDone)
        #expect(try await waiting.value.isDone)
        try await pool.status("it was replaced") { status in
          status.running.contains { $0.state == "ready" && $0.mainPID != before.running.first?.mainPID }
        }
        let first = try #require(before.running.first?.mainPID)
        try await eventually("nothing of the old instance is left") {
          !children.contains { child in
            child != first
              && (try? String(contentsOfFile: "/proc/\(child)/cgroup", encoding: .utf8))?.contains("gpu0") == true
              && kill(child, 0) == 0 && Self.isOlder(child, than: before)
          }
        }
      }
    }

    private static func isOlder(_ process: Int32, than status: InstalledPool.Status) -> Bool {
      let parent = (try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8))?
        .split(separator: "\n").first { $0.hasPrefix("PPid:") }
      return parent.map { line in status.running.contains { line.hasSuffix("\t\($0.mainPID ?? -1)") } } ?? false
    }

    @Test func aFrozenInstanceIsNoticedTakenOutAndReplaced() async throws {
      try await InstalledPool.running("health: {unhealthy_grace: 1s}") { pool in
        let before = try await pool.ready(1)
        try await pool.kill("SIGSTOP", "ollama-instance-gpu0.service")
        let answer = try await Conversation.chat(tokens: 2)
        #expect(answer.isDone)
        try await pool.status("it was replaced") { status in
          status.running.contains { $0.state == "ready" }
            && !status.running.contains { $0.mainPID == before.running.first?.mainPID }
        }
      }
    }

    @Test func anInstanceWhoseStreamsStandStillIsReplacedAlthoughItAnswersPings() async throws {
      try await InstalledPool.running("health: {stall_timeout: 2s}") { pool in
        let before = try await pool.ready(1)
        try await pool.setFaults("gpu0: stall-at-token 5")
        let stalled = try await Conversation.chat(tokens: 100)
        #expect(stalled.hasErrorLine && !stalled.isDone)
        try await pool.setFaults("")
        try await pool.status("it was replaced") { status in
          status.running.contains { $0.state == "ready" && $0.mainPID != before.running.first?.mainPID }
        }
        #expect(try await Conversation.chat(tokens: 2).isDone)
      }
    }

    @Test func anInstanceThatNeverBecomesReadyBacksOffAndTheOthersGoOn() async throws {
      try await InstalledPool.running("health: {start_timeout: 2s}") { pool in
        _ = try await pool.ready(1)
        try await pool.setFaults("gpu1: never-ready")
        let load = Task { try await Conversation.chat(tokens: 400) }
        let more = Task { try await Conversation.chat(tokens: 400) }
        let failed = try await pool.status(within: .seconds(30), "gpu1 has failed, and says why") {
          ["backingOff", "quarantined", "stopping", "launching"].contains($0.instance("gpu1")?.state ?? "")
            && $0.instance("gpu1")?.reason?.contains("not ready") == true
        }
        #expect(failed.maxConcurrent >= 1)
        #expect(try await load.value.isDone)
        #expect(try await more.value.isDone)
        #expect(await pool.journal("POOL_INSTANCE=gpu1").contains("not ready"))
      }
    }

    @Test func restartsOfDbusAndSystemdItselfDoNotReachTheUsers() async throws {
      try await InstalledPool.running(Self.two) { pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 400)
        try await systemctl("restart", "dbus.service")
        try await systemctl("daemon-reexec")
        #expect(try await Conversation.finish(stream).isDone)
        // The supervisor still hears of what happens: a killed instance is replaced.
        try await pool.kill("SIGKILL", "ollama-instance-gpu1.service")
        try await pool.status("gpu1 was replaced") { status in
          status.maxConcurrent == 2 && status.instance("gpu0")?.mainPID == before.instance("gpu0")?.mainPID
            && status.instance("gpu1")?.mainPID != before.instance("gpu1")?.mainPID
        }
      }
    }

    @Test func theSupervisorMayDieInTheMiddleOfADrain() async throws {
      try await InstalledPool.running(Self.two) { pool in
        _ = try await pool.ready(2)
        let one = try await Conversation.begun(tokens: 200)
        let other = try await Conversation.begun(tokens: 200)
        _ = try await pool.pool("restart", "gpu0")
        try await pool.status("gpu0 drains") { $0.instance("gpu0")?.state == "draining" }
        try await pool.kill("SIGKILL", "ollama-pool-supervisor.service")
        #expect(try await Conversation.finish(one).isDone)
        #expect(try await Conversation.finish(other).isDone)
        try await pool.status("no instance is left idle for ever") { status in
          status.maxConcurrent == status.running.count && status.running.allSatisfy { $0.state == "ready" }
        }
      }
    }

    @Test func theDispatcherMayDieInTheMiddleOfADrainAndLoadMayComeBack() async throws {
      try await InstalledPool.running(Self.two) { pool in
        _ = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 2_000)
        _ = try await pool.pool("restart", "gpu0")
        try await pool.status("gpu0 drains or is gone") { $0.instance("gpu0")?.state != "ready" }
        try await pool.kill("SIGKILL", "ollama-pool-dispatcher.service")
        let answers = try await withThrowingTaskGroup(of: Bool.self) { group in
          for _ in 0..<6 { group.addTask { try await Conversation.chat(tokens: 20).isDone } }
          return try await group.reduce(into: [Bool]()) { $0.append($1) }
        }
        #expect(answers.allSatisfy { $0 })
        await stream.close()
        try await pool.status(within: .seconds(30), "gpu0 was restarted") { status in
          status.running.allSatisfy { $0.state == "ready" } && status.maxConcurrent >= 2
        }
      }
    }
  }
}
