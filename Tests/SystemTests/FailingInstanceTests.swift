import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Instances die, hang, or can't be started at all.
  @Suite(.serialized) struct FailingInstanceTests {
    @Test func aKilledInstanceEndsItsStreamWithAnErrorLineAndIsReplacedWithAllItsChildren() async throws {
      try await InstalledPool.running { pool in
        let before = try await pool.ready(1)
        let stream = try await Conversation.begun(tokens: 2_000)
        let waiting = Task { try await Conversation.chat(tokens: 2) }
        try await pool.status("one runs, one waits") { $0.queueDepth + $0.inFlight == 2 }
        let processes = try await pool.processes(ofUnit: "ollama-instance-gpu0.service")
        let first = try #require(before.running.first?.mainPID)
        try #require(processes.contains { $0.processID == first } && processes.count >= 2, "\(processes)")

        try await pool.kill("SIGKILL", "ollama-instance-gpu0.service")
        let cut = try await Conversation.finish(stream)
        #expect(cut.status == 200 && cut.hasErrorLine && !cut.isDone)
        #expect(try await waiting.value.isDone)
        try await pool.status("it was replaced") { status in
          status.running.contains { $0.state == "ready" && $0.mainPID != first }
        }
        let left = processes.filter(\.exists)
        #expect(left.isEmpty, "of the old instance there still is: \(left)")
      }
    }

    @Test func aRequestWithoutAFirstByteIsServedElsewhereWhenItsInstanceDies() async throws {
      try await InstalledPool.running(SystemTests.two) { pool in
        _ = try await pool.ready(2)
        // The one on gpu0, whoever gets it, waits for a model's load; on gpu1 all is well.
        try await pool.setFaults("gpu0: load-seconds 300")
        let answers = (0..<2).map { _ in Task { try await Conversation.chat(tokens: 60) } }
        let stuck = try await pool.requests("one waits on gpu0, the other was served") { requests in
          requests.count == 1 && requests[0].instance == "gpu0" && !requests[0].begun ? requests[0] : nil
        }
        try await pool.kill("SIGKILL", "ollama-instance-gpu0.service")
        try await pool.requests("gpu1 answers it") { requests in
          requests.first { $0.id == stuck.id && $0.instance == "gpu1" && $0.begun }
        }
        for answer in answers {
          let answer = try await answer.value
          #expect(answer.status == 200 && answer.isDone && answer.tokens == 60)
        }
        let putBack = try await pool.entry(containing: "request \(stuck.id) goes back to the queue")
        #expect(putBack.instance == "gpu0")
      }
    }

    @Test func anInstanceThatDiesAgainAndAgainIsStartedAfterEverLongerPausesAndThenLeftAlone() async throws {
      let settings = """
        placements: [{id: only, gpus: [GPU-00000000]}]
        restarts: {pause: 500ms, quarantine_after: 5, quarantine: 1h}
        """
      try await InstalledPool.running(settings) { pool in
        var last: Int32?
        for failures in 1...5 {
          let status = try await pool.status("try \(failures) is ready") { status in
            status.maxConcurrent == 1 && status.running.contains { $0.state == "ready" && $0.mainPID != last }
          }
          last = status.running.first?.mainPID
          try await pool.kill("SIGKILL", "ollama-instance-only.service")
          // Of the first death the status shows nothing: it is answered at once.
          guard failures > 2 else { continue }
          let paused = try await pool.status("the status tells of failure \(failures)") {
            $0.instance("only")?.failures == failures
              && $0.instance("only")?.state == (failures == 5 ? "quarantined" : "backingOff")
          }
          let only = try #require(paused.instance("only"))
          #expect(only.reason?.contains("killed by SIGKILL") == true, "\(only)")
          let longest = failures == 5 ? 3600 : 0.5 * Double(1 << (failures - 2))
          #expect((0...longest).contains(only.retryInSeconds ?? -1), "\(only)")
        }
        let ofInstance = try await pool.entries(about: "only")
          .filter { $0.identifier == "ollama-pool-supervisor" }
        let starts = ofInstance.filter { $0.message.hasPrefix("only starts") }.map(\.time)
        let failures = ofInstance.filter { $0.message.hasPrefix("only failed: killed by SIGKILL; ") }
        let pauses = zip(failures.map(\.time), starts.dropFirst()).map { $1 - $0 }
        #expect(
          failures.map { $0.message.dropFirst("only failed: killed by SIGKILL; ".count) } == [
            "to be tried again at once", "next try in 0.5 s (2 failures in a row)",
            "next try in 1 s (3 failures in a row)", "next try in 2 s (4 failures in a row)",
          ])
        try #require(starts.count == 5 && pauses.count == 4, "\(ofInstance)")
        #expect(pauses[0] < .seconds(0.5), "\(pauses)")
        // The supervisor looks once a second.
        for (pause, least) in zip(pauses.dropFirst(), [0.5, 1, 2]) {
          #expect((.seconds(least)..<(.seconds(least + 1.5))).contains(pause), "\(pauses)")
        }
        let quarantine = ofInstance.filter { $0.message.hasPrefix("only is in quarantine for") }
        #expect(quarantine.count == 1, "\(ofInstance)")
      }
    }

    @Test func aFrozenInstanceIsNoticedItsStreamEndsWithAnErrorLineAndItIsReplaced() async throws {
      try await InstalledPool.running("health: {unhealthy_grace: 1s, probe_timeout: 500ms}") { pool in
        let before = try await pool.ready(1)
        let stream = try await Conversation.begun(tokens: 5_000)
        try await pool.kill("SIGSTOP", "ollama-instance-gpu0.service")
        // By the probes that it misses, long before the stall_timeout of 30 s.
        let cut = try await Conversation.finish(stream, within: .seconds(20))
        #expect(cut.status == 200 && cut.hasErrorLine && !cut.isDone, "\(cut.lines.suffix(1))")
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
      try await InstalledPool.running("health: {start_timeout: 1s}") { pool in
        _ = try await pool.ready(1)
        try await pool.setFaults("gpu1: never-ready")
        let load = Task { try await Conversation.chat(tokens: 200) }
        let more = Task { try await Conversation.chat(tokens: 200) }
        let failed = try await pool.status(within: .seconds(30), "gpu1 has failed, and says why") {
          ["backingOff", "quarantined", "stopping", "launching"].contains($0.instance("gpu1")?.state ?? "")
            && $0.instance("gpu1")?.reason?.contains("not ready") == true
        }
        #expect(failed.maxConcurrent >= 1)
        #expect(try await load.value.isDone)
        #expect(try await more.value.isDone)
        #expect(try await pool.entries(about: "gpu1").contains { $0.message.contains("not ready") })
      }
    }

    @Test func aPortThatAStrangerHoldsIsNamedAndAnotherOneTriedWhileOtherGPUsServe() async throws {
      // The first two that gpu0 tries, with two placements.
      let stranger = try RunningProgram(
        "python3",
        [
          "-c",
          """
          import signal, socket
          held = [socket.create_server(("127.0.0.1", port)) for port in (11500, 11502)]
          print("held", flush=True)
          signal.pause()
          """,
        ])
      try await stranger.line(containing: "held")
      let settings = "placements: [{gpus: [0]}, {gpus: [1]}]\nrestarts: {pause: 3s}\n" + SystemTests.two
      try await InstalledPool.running(settings) { pool in
        let paused = try await pool.status("gpu0 backs off, gpu1 serves") {
          $0.instance("gpu0")?.state == "backingOff" && $0.instance("gpu1")?.state == "ready"
        }
        let reason = try #require(paused.instance("gpu0")?.reason)
        #expect(reason.contains("listen tcp 127.0.0.1:11502: bind: address already in use"), "\(reason)")
        #expect(paused.instance("gpu1")?.url == "http://127.0.0.1:11501")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        let moved = try await pool.status("gpu0 has another port") { $0.instance("gpu0")?.state == "ready" }
        #expect(moved.instance("gpu0")?.url == "http://127.0.0.1:11504")
        let failures = try await pool.entries(about: "gpu0").filter {
          $0.message.hasPrefix("gpu0 failed: ") && $0.message.contains("bind: address already in use")
        }
        #expect(failures.count == 2, "\(failures)")
        #expect(failures.first?.message.contains("127.0.0.1:11500") == true)
      }
      stranger.killTree()
    }

    @Test func aUnitThatSystemdRefusesIsToldInSystemdsOwnWordsAndTriedAgain() async throws {
      try await masking("ollamapool.slice") {
        try await InstalledPool.running("placements: [{gpus: [0]}]\nrestarts: {pause: 1s}") { pool in
          let refused = try await pool.status("gpu0 backs off") { $0.instance("gpu0")?.state == "backingOff" }
          let reason = refused.instance("gpu0")?.reason ?? ""
          #expect(reason.contains("ollamapool.slice is masked"), "\(reason)")
          let entry = try await pool.entry(containing: "gpu0 failed: ")
          #expect(entry.message.contains("ollamapool.slice is masked"), "\(entry)")
          try await pool.countsAFailedStart()
          try await systemctl("unmask", "--runtime", "ollamapool.slice")
          _ = try await pool.ready(1)
        }
      }
    }

    @Test func aUnitFileInTheWayOfAnInstanceIsNamedAtOnceAndTheOthersServe() async throws {
      let unit = "ollama-instance-gpu0.service"
      try await masking(unit) {
        try await InstalledPool.running("restarts: {pause: 1s}") { pool in
          // gpu1 takes its place.
          let refused = try await pool.status(within: .seconds(10), "gpu0 is refused, and gpu1 serves") {
            $0.instance("gpu0")?.failures ?? 0 > 0 && $0.instance("gpu1")?.state == "ready"
          }
          #expect(refused.instance("gpu0")?.reason?.contains("a unit file \(unit) is in the way") == true)
          #expect(try await Conversation.chat(tokens: 2).isDone)
          let entry = try await pool.entry(containing: "gpu0 failed: ")
          #expect(entry.message.contains("a unit file \(unit) is in the way"))
        }
      }
    }
  }
}
