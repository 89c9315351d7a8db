import Foundation
import TestSupport
import Testing

extension SystemTests {
  @Suite(.serialized) struct StartAndStopTests {
    @Test func stoppingTheTargetLetsStreamsEndByThemselvesAndLeavesNothing() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        let stream = try await Conversation.begun(tokens: 150)
        try await systemctl("stop", "--no-block", "ollama-pool.target")
        let answer = try await Conversation.finish(stream)
        #expect(answer.isDone && answer.tokens >= 149)
        try await eventually(within: .seconds(20), "all is gone") { try await pool.activeUnits("ollama-*").isEmpty }
      }
    }

    @Test func stoppingTheTargetLeavesAPoolBesideItAlone() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        let folder = try TemporaryDirectory()
        let file = try folder.write(
          "gpus: cpu\nlisten: [127.0.0.1:11600]\nmetrics_listen: off\ninstance_ports: 11700\n",
          to: "beside.yaml")
        let beside = try RunningProgram(
          "/usr/bin/ollama-pool",
          ["serve", "--config", file, "--socket", folder.path(to: "run"), "--state", folder.path(to: "state")])
        try await eventually(within: .seconds(20), "the other pool serves") {
          (try? await HTTPProbe.exchange("GET", "/api/tags", port: 11600))?.status == 200
        }
        let process = try await pool.mainPID(of: "ollama-instance-cpu0.service")
        try await systemctl("stop", "ollama-pool.target")
        try await eventually(within: .seconds(20), "the installed pool is gone") {
          try await pool.activeUnits("ollama-*") == ["ollama-instance-cpu0.service"]
        }
        #expect(try await pool.mainPID(of: "ollama-instance-cpu0.service") == process)
        #expect(try await HTTPProbe.exchange("GET", "/api/tags", port: 11600).status == 200)
        beside.signal(SIGTERM)
        #expect(try await beside.wait() == .exited(0))
      }
    }

    @Test func aPoolThatIsStoppedAsSoonAsItRunsLeavesNothing() async throws {
      try await InstalledPool.running { _ in }
    }

    @Test func aStartThatReachesSystemdOnlyWhenTheTargetStopsIsTakenBack() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        // While the bus stands still, the order to start waits in it; systemctl goes another way.
        let bus = try await pool.mainPID(of: "dbus.service")
        kill(bus, SIGSTOP)
        defer { kill(bus, SIGCONT) }
        let stream = try await Conversation.begun(tokens: 50)
        try await pool.entry(containing: "gpu1 starts")
        try await systemctl("stop", "--no-block", "ollama-pool.target")
        try await eventually("the supervisor is being stopped") {
          try await pool.property("ActiveState", of: InstalledPool.supervisor) == "deactivating"
        }
        kill(bus, SIGCONT)
        #expect(try await Conversation.finish(stream).isDone)
        try await eventually(within: .seconds(15), "all is gone") { try await pool.activeUnits("ollama-*").isEmpty }
        #expect(try await !pool.entries().contains { $0.message.contains("Started ollama-instance-gpu1.service") })
      }
    }

    @Test func streamsThatTakeTooLongAreCutAtTheDrainTimeout() async throws {
      try await InstalledPool.running("drain_timeout: 2s") { pool in
        _ = try await pool.ready(1)
        let stream = try await Conversation.begun(tokens: 10_000)
        let asked = ContinuousClock.now
        try await systemctl("stop", "--no-block", "ollama-pool.target")
        let answer = try await Conversation.finish(stream)
        #expect(!answer.isDone && answer.hasErrorLine)
        // The time counts from the dispatcher's stop, a moment after the target's.
        #expect((.seconds(1.5)..<(.seconds(8))).contains(ContinuousClock.now - asked))
      }
    }

    @Test func aHeldPortIsNamedWithItsHolderAndTheRemedy() async throws {
      try await InstalledPool.running { _ in }
      let holder = try RunningProgram("python3", ["-m", "http.server", "11434", "--bind", "127.0.0.1"])
      try await eventually("the port is held") {
        (try? await HTTPProbe.exchange("GET", "/", port: 11434))?.status == 200
      }
      let before = try await InstalledPool().journalCursor()
      let start = try await run("systemctl", ["start", "ollama-pool.target"])
      #expect(start.end != .exited(0))
      let refusal = try await eventualValue("the journal says why") {
        try await InstalledPool().entries(after: before).first { $0.message.contains("11434 is held by") }
      }.message
      #expect(refusal.contains("127.0.0.1:11434 is held by python3 (process \(holder.processID)"), "\(refusal)")
      #expect(refusal.contains("`kill \(holder.processID)`"), "\(refusal)")
      #expect(refusal.contains("`systemctl edit ollama-pool-dispatcher.socket`"), "\(refusal)")
      // Nothing of the pool runs beside it, and it is as well as before.
      #expect(try await InstalledPool().activeUnits("ollama-*").isEmpty)
      #expect(try await HTTPProbe.exchange("GET", "/", port: 11434).status == 200)
      holder.killTree()
      _ = try await run("systemctl", ["stop", "ollama-pool.target"])
      _ = try await run("systemctl", ["reset-failed"])
    }

    @Test func aMissingOllamaIsSaidInStatusAndJournal() async throws {
      try await InstalledPool.running("ollama: /nonexistent/ollama") { pool in
        try await eventually(within: .seconds(20), "status and journal say that ollama is missing") {
          let status = try await pool.pool("status")
          let journal = await pool.journal()
          return (status.output + status.errorOutput).contains("/nonexistent/ollama")
            && journal.contains("/nonexistent/ollama")
        }
        try await pool.countsAFailedStart()
      }
    }

    @Test func aMissingDeviceNodeConcernsItsGPUAlone() async throws {
      try await InstalledPool.running(
        "placements:\n  - {id: bad, gpus: [GPU-00000003]}\n  - {id: good, gpus: [GPU-00000000]}\nscaling: {min: 2, cold_start: 1s, window: 2s}"
      ) { pool in
        _ = try await pool.ready(2)
        _ = try await run("mv", ["/dev/nvidia3", "/dev/nvidia3.away"])
        defer { rename("/dev/nvidia3.away", "/dev/nvidia3") }
        try await pool.kill("SIGKILL", "ollama-instance-bad.service")
        try await pool.status(within: .seconds(30), "bad names its node, good serves") { status in
          status.instance("bad")?.reason?.contains("/dev/nvidia3") == true && status.maxConcurrent == 1
        }
        #expect(try await pool.pool("gpus").output.contains("its device node /dev/nvidia3 is missing"))
        #expect(try await Conversation.chat(tokens: 2).isDone)
        rename("/dev/nvidia3.away", "/dev/nvidia3")
        try await pool.status(within: .seconds(40), "bad serves again") { $0.maxConcurrent == 2 }
      }
    }

    @Test func aBadConfigurationIsRefusedWithItsPlaceAndARunningPoolKeepsTheOldOne() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        try await pool.configure("slotz: 2")
        let check = try await pool.pool("config", "check")
        #expect(check.end == .exited(78))
        #expect(check.errorOutput.contains("ollama-pool.yaml:") && check.errorOutput.contains("slots"))
        _ = try await run("systemctl", ["reload", InstalledPool.supervisor])
        try await eventually("the journal says what is wrong") { await pool.journal().contains("slotz") }
        #expect(try await pool.status().maxConcurrent == 1)
        #expect(try await Conversation.chat(tokens: 2).isDone)
      }
    }

    @Test func neitherDaemonStartsWithABadConfigurationNorTriesAgainUntilItIsCorrected() async throws {
      try await InstalledPool.running { pool in
        let daemons = [InstalledPool.supervisor, InstalledPool.dispatcher]
        _ = try await pool.ready(1)
        try await pool.stop()
        try await pool.beginStory()
        try await pool.configure("slotz: 2")
        // Both at the same time, though one is ordered after the other: each takes its time.
        _ = try await run("systemctl", ["start", "--no-block", "--job-mode=ignore-dependencies"] + daemons)
        for daemon in daemons {
          // Not at once, so that whoever waits in the socket can't start it many times a second.
          try await eventually(within: .seconds(20), "\(daemon) has failed") {
            try await pool.property("ActiveState", of: daemon) == "failed"
          }
          #expect(try await pool.property("ExecMainStatus", of: daemon) == "78")
          #expect(try await pool.property("NRestarts", of: daemon) == "0")
        }
        let problems = try await pool.entries().filter { $0.message.contains("slotz") }
        for daemon in ["supervisor", "dispatcher"] {
          let said = problems.filter { $0.identifier == "ollama-pool-\(daemon)" }
          #expect(
            said.contains { $0.message.contains("ollama-pool.yaml:") && $0.message.contains("slots") },
            "\(daemon): \(problems)")
          #expect(said.count <= 2, "\(said)")
        }
        try await pool.configure()
        try await systemctl("start", "ollama-pool.target")
        _ = try await pool.ready(1)
      }
    }

    @Test func theSocketIsRestartedWhileItsDaemonCannotStart() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        try await pool.beginStory()
        try await pool.configure("slotz: 2")
        // Whoever connects starts it again: the supervisor does so all the time.
        _ = try await run("systemctl", ["restart", InstalledPool.dispatcher])
        for _ in 0..<2 {
          try await eventually(within: .seconds(20), "the dispatcher says what is wrong") {
            try await pool.entries().contains {
              $0.message.contains("slotz") && $0.identifier == "ollama-pool-dispatcher"
            }
          }
          try await pool.beginStory()
          try await systemctl("restart", "ollama-pool-dispatcher.socket")
          _ = try await pool.pool("status")
        }
        try await pool.configure()
        try await systemctl("restart", "ollama-pool-dispatcher.socket")
        _ = try await pool.ready(1)
        #expect(try await pool.property("ActiveState", of: "ollama-pool.target") == "active")
      }
    }
  }
}
