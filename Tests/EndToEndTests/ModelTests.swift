import Foundation
import TestSupport
import Testing

/// Models in the memory of instances that behave as Ollama does.
@Suite(.serialized) struct ModelTests {
  @Test("Requests alternate between two models on two instances, and each stays where it is")
  func affinity() async throws {
    let pool = try Pool(
      Pool.Setup(gpus: 2, settings: "scaling: {min: 2}", ollamaVariables: ["OLLAMA_MAX_LOADED_MODELS": "1"]))
    defer { pool.kill() }
    try await pool.status(until: "both are ready") { $0.maxConcurrent == 2 }
    for number in 0..<12 {
      let model = number.isMultiple(of: 2) ? "llama3.2" : "nomic-embed-text"
      let isText = number.isMultiple(of: 2)
      let body =
        isText ? #"{"model":"\#(model)","prompt":"x","stream":false}"# : #"{"model":"\#(model)","input":"x"}"#
      #expect(try await pool.post(isText ? "/api/generate" : "/api/embed", body).status == 200)
    }
    let models = try #require(try await pool.get("/api/ps").object["models"] as? [[String: Any]])
    #expect(models.compactMap { $0["name"] as? String }.sorted() == ["llama3.2:latest", "nomic-embed-text:latest"])
    try await pool.stop()
  }

  @Test("A model's context is settled by the configuration, and clients that ask for another cost no load")
  func settledContext() async throws {
    let pool = try Pool(Pool.Setup(settings: "models:\n  llama3.2: {num_ctx: 8192}\npreload: [llama3.2]"))
    defer { pool.kill() }
    try await pool.isReady()
    for options in ["", #","options":{"num_ctx":2048}"#, #","options":{"num_ctx":131072,"seed":1}"#] {
      let body = #"{"model":"llama3.2","prompt":"x","stream":false\#(options)}"#
      #expect(try await pool.post("/api/generate", body).status == 200)
      let models = try #require(try await pool.get("/api/ps").object["models"] as? [[String: Any]])
      #expect(models.map { $0["context_length"] as? Int } == [8192])
    }
    let metrics = try await HTTPProbe.exchange("GET", "/metrics", port: pool.metricsPort).text
    #expect(metrics.contains("# TYPE ollama_pool_model_reloads_total") && !metrics.contains("reloads_total{"))
    try await pool.stop()
  }

  @Test("A model under preload that another one drove out is loaded again")
  func evicted() async throws {
    let pool = try Pool(
      Pool.Setup(settings: "preload: [llama3.2]", ollamaVariables: ["OLLAMA_MAX_LOADED_MODELS": "1"]))
    defer { pool.kill() }
    try await pool.isReady()
    #expect(try await pool.post("/api/embed", #"{"model":"nomic-embed-text","input":"x"}"#).status == 200)
    try await eventually(within: .seconds(20), "it is loaded again") {
      let models = try await pool.get("/api/ps").object["models"] as? [[String: Any]]
      return models?.compactMap { $0["name"] as? String } == ["llama3.2:latest"]
    }
    #expect(try await pool.status.maxConcurrent == 1)
    try await pool.stop()
  }
}
