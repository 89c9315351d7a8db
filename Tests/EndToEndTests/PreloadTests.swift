import Foundation
import TestSupport
import Testing

/// The models under `preload`, from the configuration to the instance.
@Suite(.serialized) struct PreloadTests {
  @Test("An instance counts only once its models are loaded, which then stay; what was reloaded holds for later starts")
  func preload() async throws {
    let pool = try Pool(
      Pool.Setup(settings: "preload: [llama3.2]\nkeep_alive: 5m", simulator: ["LOAD_SECONDS": "3"]))
    defer { pool.kill() }
    try await eventually("the instance answers") {
      try await HTTPProbe.exchange("GET", "/api/version", port: pool.instancePorts).status == 200
    }
    let loading = try await pool.status
    #expect(loading.maxConcurrent == 0 && loading.instances.map(\.state) == ["starting"], "\(loading)")
    try await pool.isReady()
    #expect(try await loaded(pool) == ["llama3.2:latest": true])

    // Ollama changes a loaded model's time only for a request that has one.
    #expect(try await pool.post("/api/generate", Pool.generation(tokens: 1)).status == 200)
    #expect(try await loaded(pool) == ["llama3.2:latest": true])
    let timed = #"{"model":"llama3.2","prompt":"hello","keep_alive":"1h","options":{"num_predict":1}}"#
    #expect(try await pool.post("/api/generate", timed).status == 200)
    #expect(try await loaded(pool) == ["llama3.2:latest": false])

    let text = try String(contentsOfFile: pool.configuration, encoding: .utf8)
    try pool.folder.write(
      text.replacing("preload: [llama3.2]", with: "preload: [nomic-embed-text]"), to: "ollama-pool.yaml")
    pool.program.signal(SIGHUP)
    try await pool.program.line(containing: "configuration reloaded")
    #expect(try await loaded(pool) == ["llama3.2:latest": false], "what runs stays as it is")
    let before = try await pool.status.instances.map(\.mainPID)
    #expect(try await pool.command("restart", "gpu0").end == .exited(0))
    try await pool.status(until: "a new instance is ready") { status in
      status.maxConcurrent == 1 && status.instances.map(\.mainPID) != before
    }
    #expect(try await loaded(pool) == ["nomic-embed-text:latest": true])
    try await pool.stop()
  }

  /// What the pool says is loaded, and whether for ever.
  private func loaded(_ pool: Pool) async throws -> [String: Bool] {
    let models = try #require(try await pool.get("/api/ps").object["models"] as? [[String: Any]])
    return Dictionary(
      uniqueKeysWithValues: models.map { model in
        let year = (model["expires_at"] as? String).flatMap { Int($0.prefix(4)) } ?? 0
        return (model["name"] as? String ?? "", year > 2100)
      })
  }
}
