import Foundation
import TestSupport
import Testing

extension SystemTests {
  @Suite(.serialized) struct OperatorTests {
    @Test func operatorsScaleCordonDrainAndRestart() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        #expect(try await pool.pool("scale", "--fixed", "3").end == .exited(0))
        _ = try await pool.ready(3)
        #expect(try await pool.pool("cordon", "gpu3", "--reason", "training").end == .exited(0))
        #expect(try await pool.pool("gpus").output.contains("training"))
        #expect(try await pool.pool("drain", "gpu1").end == .exited(0))
        try await pool.status("gpu1 is gone and cordoned, nothing takes its place") {
          $0.instance("gpu1")?.mainPID == nil && $0.maxConcurrent == 2
        }
        #expect(try await pool.pool("uncordon", "gpu1").end == .exited(0))
        let three = try await pool.ready(3)
        #expect(try await pool.pool("restart", "gpu0").end == .exited(0))
        try await pool.status("gpu0 was restarted") { status in
          status.instance("gpu0")?.state == "ready"
            && status.instance("gpu0")?.mainPID != three.instance("gpu0")?.mainPID
        }
        #expect(try await pool.pool("scale", "reset").end == .exited(0))
        try await pool.status("the pool shrinks") { $0.running.count == 1 }
        // Cordons outlive the supervisor.
        try await pool.kill("SIGKILL", InstalledPool.supervisor)
        try await eventually("the cordon is still there") { try await pool.pool("gpus").output.contains("training") }
      }
    }

    @Test func whatIsWrongIsSaidInOneLine() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        for arguments in [["drain", "gpu99"], ["cordon", "gpu99"], ["queue", "cancel", "999"]] {
          let command = try await run("/usr/bin/ollama-pool", arguments)
          #expect(command.end == .exited(1), "\(arguments)")
          #expect(command.errorOutput.split(separator: "\n").count == 1, "\(command.errorOutput)")
        }
        let nobody = try await run("setpriv", ["--reuid=nobody", "--clear-groups", "/usr/bin/ollama-pool", "status"])
        #expect(nobody.end == .exited(1))
        #expect(nobody.errorOutput.contains("ollama-pool"))
        #expect(try await pool.pool("status", "--nonsense").end == .exited(64))
      }
    }

    @Test func aCancelledRequestFreesItsPlace() async throws {
      try await InstalledPool.running("scaling: {max: 1}") { pool in
        _ = try await pool.ready(1)
        let running = try await Conversation.begun(tokens: 5_000)
        let waiting = Task { try await Conversation.chat(tokens: 2) }
        try await pool.status("one runs, one waits") { $0.queueDepth == 1 && $0.inFlight == 1 }
        let list = try await pool.pool("queue", "list", "--json")
        let requests = try JSONSerialization.jsonObject(with: Data(list.output.utf8)) as? [[String: Any]]
        let first = try #require(requests?.first { $0["position"] == nil || $0["position"] is NSNull }?["id"])
        #expect(try await pool.pool("queue", "cancel", "\(first)").end == .exited(0))
        #expect(try await waiting.value.isDone)
        await running.close()
      }
    }
  }
}
