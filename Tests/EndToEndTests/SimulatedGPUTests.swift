import Foundation
import TestSupport
import Testing

/// What docs/gpus.md shows whoever has no GPU.
@Suite(.serialized) struct SimulatedGPUTests {
  private struct GPU: Decodable {
    var label: String?
    var state: String?
    var reason: String?
    var memoryOursBytes: Int?
    var memoryOthersBytes: Int?
  }

  /// By label.
  private func gpus(
    _ pool: Pool, until expectation: String, _ condition: ([String: GPU]) -> Bool
  ) async throws -> [String: GPU] {
    try await eventualValue(expectation) {
      let list = try JSONDecoder().decode([GPU].self, from: Data(try await pool.command("gpus", "--json").output.utf8))
      let gpus = Dictionary(list.map { ($0.label ?? "", $0) }) { first, _ in first }
      return condition(gpus) ? gpus : nil
    }
  }

  @Test("GPUs that don't exist are used as those that do: watched, shared with others, and left when they fail")
  func simulated() async throws {
    let simulator = BuiltProduct.path("ollama-simulator")
    let folder = try TemporaryDirectory()
    let made = try await run(simulator, ["gpus", "make", folder.path, "--count", "3", "--memory", "3GiB"])
    try #require(made.end == .exited(0), "\(made.errorOutput)")
    let setup = Pool.Setup(
      simulatedGPUs: folder.path, settings: "scaling: {min: 2, window: 1s, shrink: 100%, idle_hold: 1s}")
    try await withPool(setup) { pool in
      try await pool.isReady(for: 2)
      #expect(try await pool.status.instances.map(\.id) == ["gpu0", "gpu1", "gpu2"])
      let other = try RunningProgram(simulator, ["gpus", "occupy", folder.path, "gpu2", "2GiB"])
      let busy = try await gpus(pool, until: "gpu2 is busy") { $0["2"]?.state == "busy" }
      #expect(busy["2"]?.memoryOthersBytes == 2 << 30)
      #expect(busy["2"]?.reason == "ollama-simulator (process \(other.processID)) with 2 GiB")
      other.signal(SIGINT)

      let stream = try await pool.openStream(tokens: 100_000)
      _ = try await stream.head()
      _ = try await gpus(pool, until: "the model is on a GPU") {
        $0.values.contains { $0.memoryOursBytes ?? 0 > 1 << 30 }
      }
      let serving = try #require(try await pool.requests.first?.instance)
      _ = try await run(simulator, ["gpus", "fault", folder.path, serving, "lost"])
      #expect(try await stream.restOfBody().hasSuffix("unexpected EOF\"}\n"))
      _ = try await gpus(pool, until: "it has failed") { $0[String(serving.dropFirst(3))]?.state == "failed" }
      try await pool.isReady(for: 2)
      #expect(try await pool.post("/api/generate", Pool.generation(tokens: 2)).status == 200)
      #expect(try await pool.status.instances.first { $0.id == serving }?.mainPID == nil)
    }
  }
}
