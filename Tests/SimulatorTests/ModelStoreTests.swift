import Foundation
import TestSupport
import Testing

@testable import ollama_simulator

@Suite struct ModelStoreTests {
  @Test func `servers with one store see each other's models`() async throws {
    let one = try await Simulator.start()
    let two = try await Simulator.start(sharing: one)
    let pull = try await one.post("/api/pull", #"{"model":"mistral"}"#)
    #expect(pull.head["Content-Type"] == "application/x-ndjson")
    #expect(pull.lines.first?["status"] as? String == "pulling manifest")
    #expect(pull.lines.last?["status"] as? String == "success")
    #expect(pull.lines.contains { ($0["completed"] as? Int ?? 0) > 0 && $0["total"] != nil && $0["digest"] != nil })
    #expect(try await names(two).contains("mistral:latest"))
    #expect(try await two.post("/api/generate", #"{"model":"mistral","prompt":"x"}"#).status == 200)

    #expect(try await two.post("/api/copy", #"{"source":"mistral","destination":"me/mine:1"}"#).status == 200)
    let created = try await two.post(
      "/api/create", #"{"model":"pirate","from":"llama3.2","system":"Arr","stream":false}"#)
    #expect(created.object["status"] as? String == "success")
    #expect(try await names(one).isSuperset(of: ["me/mine:1", "pirate:latest"]))
    #expect(try await one.post("/api/show", #"{"model":"pirate"}"#).object["system"] as? String == "Arr")
    #expect(try await one.post("/api/push", #"{"model":"me/mine:1"}"#).lines.last?["status"] as? String == "success")

    #expect(try await delete("mistral", one).status == 200)
    #expect(try await delete("mistral", one).status == 404)
    #expect(
      try await names(two) == [
        "llama3.2:latest", "qwen3:0.6b", "nomic-embed-text:latest", "me/mine:1", "pirate:latest",
      ])
  }

  @Test func `a deleted model stays deleted after a restart`() async throws {
    let one = try await Simulator.start()
    #expect(try await delete("qwen3:0.6b", one).status == 200)
    try await one.program.stop()
    let two = try await Simulator.start(sharing: one)
    #expect(try await names(two) == ["llama3.2:latest", "nomic-embed-text:latest"])
  }

  @Test func `what cannot be done has Ollama's answer`() async throws {
    let simulator = try await Simulator.start()
    #expect(
      try await simulator.post("/api/pull", #"{"model":"does-not-exist"}"#).lines.last?["error"] as? String
        == "pull model manifest: file does not exist")
    #expect(try await simulator.post("/api/pull", #"{"model":"does-not-exist","stream":false}"#).status == 500)
    #expect(try await simulator.post("/api/pull", #"{"model":"a/b/c/d"}"#).status == 400)
    #expect(try await simulator.post("/api/copy", #"{"source":"nope","destination":"x"}"#).status == 404)
    #expect(try await simulator.post("/api/create", #"{"model":"x"}"#).status == 400)
    #expect(try await simulator.post("/api/create", #"{"model":"x","from":"nope"}"#).status == 404)
    #expect(try await simulator.post("/api/show", #"{"model":"nope"}"#).status == 404)
    #expect(try await simulator.post("/api/show", #"{"model":"../../etc/passwd"}"#).status == 404)
    #expect(try await simulator.get("/v1/models/nope").status == 404)
    #expect(try await simulator.get("/v1/models/llama3.2").object["id"] as? String == "llama3.2")
  }

  @Test func `a blob is kept only if its name is true`() async throws {
    let simulator = try await Simulator.start()
    let content = String(repeating: "weights ", count: 100_000)
    let digest = "sha256:" + SHA256.hex(content.utf8)
    let path = "/api/blobs/" + digest
    func head() async throws -> Int { try await HTTPProbe.exchange("HEAD", path, port: simulator.port).status }
    #expect(try await head() == 404)
    let mismatch = try await simulator.post(path, "something else")
    #expect(mismatch.status == 400 && mismatch.text.contains("digest mismatch"))
    #expect(try await head() == 404)

    let cut = try await HTTPProbe.connect(port: simulator.port)
    try await cut.send(raw: "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\nweights")
    await cut.close()

    let probe = try await HTTPProbe.connect(port: simulator.port)
    try await probe.send(
      raw:
        "POST \(path) HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: \(content.utf8.count)\r\n\r\n"
    )
    #expect(try await probe.head().status == 100)
    try await probe.send(raw: content)
    #expect(try await probe.answer().status == 201)
    #expect(try await head() == 200)
    #expect(try await simulator.post(path, content).status == 200)
    #expect(try await simulator.post("/api/blobs/sha256:12", "x").status == 400)
    let create = #"{"model":"mine","files":{"model.gguf":"\#(digest)"},"stream":false}"#
    #expect(try await simulator.post("/api/create", create).status == 200)
    try await eventually("no partial upload is left") {
      try FileManager.default.contentsOfDirectory(atPath: simulator.folder.path(to: "models/simulator/blobs"))
        == ["sha256-" + digest.dropFirst(7)]
    }
  }

  private func names(_ simulator: Simulator) async throws -> Set<String> {
    let models = try await simulator.get("/api/tags").object["models"] as? [[String: Any]] ?? []
    return Set(models.compactMap { $0["name"] as? String })
  }

  private func delete(_ model: String, _ simulator: Simulator) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange("DELETE", "/api/delete", port: simulator.port, body: #"{"model":"\#(model)"}"#)
  }
}
