import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Who may change the models, and who may reach the network for it.
  @Suite(.serialized) struct StoreTests {
    private func pull(_ model: String = "mistral") async throws -> HTTPProbe.Answer {
      try await HTTPProbe.exchange(
        "POST", "/api/pull", port: InstalledPool.port, headers: [("Content-Type", "application/json")],
        body: #"{"model":"\#(model)","stream":false}"#)
    }

    /// The instances that may reach more than this machine.
    private func networks(_ pool: InstalledPool) async throws -> Set<String> {
      var open: Set<String> = []
      for unit in try await pool.instanceUnits() {
        let state = try await run("systemctl", ["show", "-p", "ActiveState", "-p", "IPAddressDeny", unit]).output
        if state.contains("ActiveState=active"), state.contains("IPAddressDeny=\n") { open.insert(unit) }
      }
      return open
    }

    @Test func aStoreOfOthersIsReadAndAPullIntoItIsRefusedWithTheRemedy() async throws {
      let store = "/srv/store-of-others"
      // With models in it, as the simulator keeps them.
      let folders = ["", "/simulator", "/simulator/models", "/simulator/blobs"].map { store + $0 }
      _ = try await run("install", ["-d", "-m", "755", "-o", "daemon"] + folders)
      try await InstalledPool.running("models_path: \(store)") { pool in
        let status = try await pool.ready(1)
        let answer = try await pull()
        #expect(answer.status == 403, "\(answer.status)")
        #expect(
          answer.text.contains("the model store \(store) (owned by daemon, rwxr-xr-x) is not the pool's"),
          "\(answer.text)")
        #expect(answer.text.contains("set the key instance_user to its owner"), "\(answer.text)")
        let process = try #require(status.running.first?.mainPID)
        let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8).split(separator: "\0")
        #expect(environment.contains("OLLAMA_NOPRUNE=1"))
        #expect(try await networks(pool) == [])
        #expect(try FileManager.default.contentsOfDirectory(atPath: store + "/simulator/models") == [])
      }
    }

    @Test func oneInstanceWritesAndAloneIsOnTheNetworkAndAnotherTakesOverWhenItIsGone() async throws {
      try await InstalledPool.running("placements: [{gpus: [0]}, {gpus: [1]}]\n" + SystemTests.two) { pool in
        _ = try await pool.ready(2)
        func unit(_ id: String) -> String { "ollama-instance-\(id).service" }
        // Whoever starts beside another one tidies nothing up, which may be what is being pulled.
        let tidying = try await pool.status().running.compactMap(\.mainPID).filter { process in
          let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8)
          return !environment.split(separator: "\0").contains("OLLAMA_NOPRUNE=1")
        }
        #expect(tidying.count <= 1)
        let first = try await eventualValue("one has a way out") {
          let open = try await networks(pool)
          return open.count == 1 ? open.first : nil
        }
        let (writer, other) = first == unit("gpu0") ? ("gpu0", "gpu1") : ("gpu1", "gpu0")
        #expect(try await pull().status == 200)

        let before = try await pool.mainPID(of: unit(writer))
        try await pool.kill("SIGKILL", unit(writer))
        // Looked at all the time, and never seen with two.
        try await eventually(within: .seconds(20), "\(other) has taken over, and \(writer) is back without a way out") {
          let open = try await networks(pool)
          if open.count > 1, try await networks(pool).isSuperset(of: open) { Issue.record("on the network: \(open)") }
          let process = try await pool.mainPID(of: unit(writer))
          return open == [unit(other)] && process != 0 && process != before
        }
        try await pool.entry(containing: "\(other) changes the model store from now on")
        #expect(try await pull("qwen").status == 200)

        // One that is stopped hands over first.
        _ = try await pool.ready(2)
        #expect(try await pool.pool("drain", other).end == .exited(0))
        try await eventually(within: .seconds(20), "\(writer) has it again") {
          guard try await networks(pool) == [unit(writer)] else { return false }
          return try await pool.instanceUnits() == [unit(writer)]
        }
        #expect(try await pull("gemma").status == 200)
      }
    }
  }
}
