import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// What a start is held against: the room that there is on a GPU.
  @Suite(.serialized) struct GPURoomTests {
    /// Others are not what keeps it from starting here.
    private static let settings = "\nbusy_memory: 7GiB"
    private static let options = ["--count", "2", "--memory", "8GiB"]

    @Test func aGPUWithoutRoomForWhatIsConfiguredIsPassedOverUntilThereIs() async throws {
      var others: RunningProgram?
      let settings = SystemTests.two + Self.settings + "\ngpu_memory: 2GiB"
      try await SimulatedGPUs.running(settings, options: Self.options) { gpus in
        others = try await gpus.occupy("gpu0", "7GiB")
      } _: { pool, _ in
        try await pool.status("gpu1 serves") { $0.instance("gpu1")?.state == "ready" && $0.maxConcurrent == 1 }
        let held = try await pool.entry(containing: "gpu0 is passed over")
        #expect(held.message.contains("2 GiB of GPU memory are needed, 1 GiB are free"), "\(held)")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        #expect(try await pool.status().instance("gpu0")?.mainPID == nil)
        others?.signal(SIGINT)
        _ = try await pool.ready(2)
      }
    }

    @Test func aGPUWithoutRoomForWhatItsLastModelTookIsPassedOverUntilThereIs() async throws {
      // One request needs one instance, so that nothing else is started before it is ordered.
      let settings = "scaling: {min: 1, z: 0, cold_start: 1s, window: 2s, shrink: 100%, idle_hold: 1s}" + Self.settings
      try await SimulatedGPUs.running(settings, options: Self.options) { pool, gpus in
        _ = try await pool.ready(1)
        // Long enough that both daemons have heard of the model.
        #expect(try await Conversation.chat(tokens: 100).isDone)
        try await pool.gpus("the model is on gpu0") { $0["0"]?.memoryOursBytes ?? 0 > 1 << 30 }
        let unload = try await HTTPProbe.exchange(
          "POST", "/api/generate", port: InstalledPool.port, headers: [("Content-Type", "application/json")],
          body: #"{"model":"llama3.2","keep_alive":0}"#)
        #expect(unload.status == 200)
        try await pool.gpus("it is gone") { $0["0"]?.memoryOursBytes == 0 }
        let others = try await gpus.occupy("gpu0", "7GiB")
        try await pool.gpus("they are seen") { $0["0"]?.memoryOthersBytes == 7 << 30 }
        try await pool.kill("SIGKILL", "ollama-instance-gpu0.service")
        try await pool.status("gpu1 serves instead") { $0.running.map(\.id) == ["gpu1"] && $0.maxConcurrent == 1 }
        #expect(try await pool.pool("scale", "--fixed", "2").end == .exited(0))
        let held = try await pool.entry(containing: "gpu0 is passed over")
        #expect(held.message.contains("1.9 GiB of GPU memory are needed, 1 GiB are free"), "\(held)")
        others.signal(SIGINT)
        _ = try await pool.ready(2)
      }
    }

    @Test func aStartWaitsForMemoryThatDoesNotComeFreeButNotForeverAndOthersDoNotWait() async throws {
      try await SimulatedGPUs.running(options: ["--count", "2"]) { pool, gpus in
        _ = try await pool.ready(1)
        #expect(try await Conversation.chat(tokens: 100).isDone)
        try await gpus.fault("gpu0 lingers 3600")
        try await pool.gpus("the model is on gpu0") { $0["0"]?.memoryOursBytes ?? 0 > 1 << 30 }
        try await pool.kill("SIGKILL", "ollama-instance-gpu0.service")
        let failed = try await pool.entry(containing: "gpu0 failed")
        #expect(try await pool.pool("scale", "--fixed", "2").end == .exited(0))
        let held = try await pool.entry(containing: "gpu0 is passed over")
        #expect(held.message.contains("the memory of \(SimulatedGPUs.uuid(0)) is not free yet"), "\(held)")
        try await pool.status("gpu1 serves meanwhile") { $0.running.map(\.id) == ["gpu1"] && $0.maxConcurrent == 1 }
        _ = try await pool.ready(2, within: .seconds(40))
        let starts = try await pool.story().filter { $0.message.hasPrefix("gpu0 starts") && $0.time > failed.time }
        let waited = try #require(starts.first).time - failed.time
        // 15 seconds, noticed with a reading every two.
        #expect((.seconds(14)..<(.seconds(25))).contains(waited), "\(waited)")
      }
    }
  }
}
