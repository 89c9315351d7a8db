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

    @Test func streamsThatTakeTooLongAreCutAtTheDrainTimeout() async throws {
      try await InstalledPool.running("drain_timeout: 2s") { pool in
        _ = try await pool.ready(1)
        let stream = try await Conversation.begun(tokens: 10_000)
        let asked = ContinuousClock.now
        try await systemctl("stop", "--no-block", "ollama-pool.target")
        let answer = try await Conversation.finish(stream)
        #expect(!answer.isDone && answer.hasErrorLine)
        #expect(ContinuousClock.now - asked >= .seconds(1.5))
      }
    }

    @Test func aHeldPortIsNamedWithItsHolderAndTheRemedy() async throws {
      try await InstalledPool.running { _ in }
      let holder = try RunningProgram("python3", ["-m", "http.server", "11434", "--bind", "127.0.0.1"])
      try await eventually("the port is held") {
        (try? await HTTPProbe.exchange("GET", "/", port: 11434))?.status == 200
      }
      let start = try await run("systemctl", ["start", "ollama-pool.target"])
      #expect(start.end != .exited(0))
      let journal = try await run("journalctl", ["-n", "100", "--no-pager", "-o", "cat"])
      #expect(journal.output.contains("11434"))
      #expect(journal.output.contains("python3"))
      #expect(journal.output.contains("\(holder.processID)"))
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
        #expect(try await Conversation.chat(tokens: 2).isDone)
      }
    }

    @Test func aBadConfigurationIsRefusedWithItsPlaceAndARunningPoolKeepsTheOldOne() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        try await pool.configure("slotz: 2")
        let check = try await pool.pool("config", "check")
        #expect(check.end == .exited(78))
        #expect(check.errorOutput.contains("ollama-pool.yaml:") && check.errorOutput.contains("slots"))
        _ = try await run("systemctl", ["reload", "ollama-pool-supervisor.service"])
        try await eventually("the journal says what is wrong") { await pool.journal().contains("slotz") }
        #expect(try await pool.status().maxConcurrent == 1)
        #expect(try await Conversation.chat(tokens: 2).isDone)
      }
    }
  }
}
