import Foundation
import TestSupport
import Testing

@Suite struct SchedulingTests {
  static let generate = #"{"model":"llama3.2","prompt":"x"}"#

  @Test func `one slot is strictly one at a time, and no header comes before the first token`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_TOKENS": "40"])
    try await simulator.load()
    let first = try await simulator.open("/api/generate", Self.generate)
    _ = try await first.head()
    let second = try await simulator.open("/api/generate", Self.generate)
    let ended = try #require(JSONText.lines(try await first.restOfBody()).last?["created_at"] as? String)
    let began = try #require(try await second.answer().lines.first?["created_at"] as? String)
    #expect(ended < began, "by the server's own clock")
  }

  @Test func `two slots run side by side at half the speed, and the third waits`() async throws {
    let simulator = try await Simulator.start([
      "OLLAMA_NUM_PARALLEL": "2", "OLLAMA_SIMULATOR_TOKENS": "40", "OLLAMA_SIMULATOR_TOKENS_PER_SECOND": "100",
    ])
    try await simulator.load()
    // Each token takes 10 ms alone and 20 ms beside another; a busy machine only adds to that.
    try await eventually("an answer alone takes less than beside another") {
      try await nanoseconds(simulator.post("/api/generate", Self.generate)) < 700_000_000
    }
    let endless = try await simulator.open(
      "/api/generate", #"{"model":"llama3.2","prompt":"x","options":{"num_predict":1000000}}"#)
    _ = try await endless.head()
    #expect(try await nanoseconds(simulator.post("/api/generate", Self.generate)) > 750_000_000)
    let second = try await simulator.open(
      "/api/generate", #"{"model":"llama3.2","prompt":"x","options":{"num_predict":1000000}}"#)
    _ = try await second.head()
    let third = try await simulator.open("/api/generate", Self.generate)
    await #expect(throws: HTTPProbeError.self) { try await third.head(within: .milliseconds(300)) }
    await endless.close()
    #expect(try await third.head().status == 200)
  }

  @Test func `answers beside one another and long questions take as long as it is told`() async throws {
    let simulator = try await Simulator.start([
      "OLLAMA_NUM_PARALLEL": "2", "OLLAMA_SIMULATOR_TOKENS": "40", "OLLAMA_SIMULATOR_TOKENS_PER_SECOND": "100",
      "OLLAMA_SIMULATOR_SLOWDOWN": "0", "OLLAMA_SIMULATOR_PROMPT_TOKENS_PER_SECOND": "100",
    ])
    try await simulator.load()
    let endless = try await simulator.open(
      "/api/generate", #"{"model":"llama3.2","prompt":"x","options":{"num_predict":1000000}}"#)
    _ = try await endless.head()
    // As fast as alone; a busy machine only adds to that.
    try await eventually("an answer takes no longer beside another") {
      try await nanoseconds(simulator.post("/api/generate", Self.generate)) < 700_000_000
    }
    await endless.close()
    let question = String(repeating: "four", count: 50)
    let answer = try await simulator.post(
      "/api/generate", #"{"model":"llama3.2","prompt":"\#(question)","stream":false,"options":{"num_predict":1}}"#)
    #expect(answer.object["prompt_eval_count"] as? Int == 50)
    #expect(answer.object["prompt_eval_duration"] as? Int ?? 0 >= 500_000_000)
  }

  @Test func `only requests that need a load are refused`() async throws {
    let simulator = try await Simulator.start([
      "OLLAMA_MAX_QUEUE": "1", "OLLAMA_SIMULATOR_LOAD_SECONDS": "3", "OLLAMA_SIMULATOR_TOKENS": "2",
    ])
    let whileLoading = try await answers(6, from: simulator)
    #expect(whileLoading.filter { $0.status == 200 }.count == 2)
    let refused = whileLoading.filter { $0.status == 503 }
    #expect(refused.count == 4)
    for answer in refused {
      #expect(answer.text == #"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#)
      #expect(answer.head["Retry-After"] == nil)
    }
    let loaded = try await answers(6, from: simulator)
    #expect(loaded.allSatisfy { $0.status == 200 })
  }

  @Test func `a refusal has the caller's dialect`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_MAX_QUEUE": "0", "OLLAMA_SIMULATOR_LOAD_SECONDS": "5"])
    let loading = try await simulator.open("/api/generate", Self.generate)
    try await eventually("the load has begun") { !simulator.runners.isEmpty }
    let messages = #""messages":[{"role":"user","content":"x"}],"max_tokens":5"#
    let openAI = try await simulator.post("/v1/chat/completions", #"{"model":"llama3.2",\#(messages)}"#)
    #expect(openAI.status == 503)
    #expect(
      (openAI.object["error"] as? [String: Any])?["message"] as? String
        == "server busy, please try again.  maximum pending requests exceeded")
    let anthropic = try await simulator.post("/v1/messages", #"{"model":"llama3.2",\#(messages)}"#)
    #expect((anthropic.object["error"] as? [String: Any])?["type"] as? String == "overloaded_error")
    await loading.close()
  }

  @Test func `a client that leaves frees its slot at once`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_TOKENS": "1000000"])
    try await simulator.load()
    let first = try await simulator.open("/api/generate", Self.generate)
    _ = try await first.head()
    let second = try await simulator.open(
      "/api/generate", #"{"model":"llama3.2","prompt":"y","stream":false,"options":{"num_predict":1}}"#)
    await first.close()
    #expect(try await second.answer().object["done"] as? Bool == true)
  }

  @Test(arguments: [("0", "2000"), ("2000", "1000000")])
  func `clients that leave at any moment do no harm`(speed: String, tokens: String) async throws {
    let simulator = try await Simulator.start([
      "OLLAMA_NUM_PARALLEL": "4", "OLLAMA_SIMULATOR_TOKENS": tokens, "OLLAMA_SIMULATOR_TOKENS_PER_SECOND": speed,
      "OLLAMA_SIMULATOR_FIRST_TOKEN_SECONDS": "0.001",
    ])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<8 {
        group.addTask {
          for turn in 0..<25 {
            let probe = try await simulator.open("/api/generate", Self.generate)
            // Before the answer, with its first token, or in its midst.
            if (client + turn) % 3 > 0 { _ = try await probe.head() }
            if (client + turn) % 3 > 1 { _ = try await probe.piece() }
            await probe.close()
          }
        }
      }
      try await group.waitForAll()
    }
    let short = #"{"model":"llama3.2","prompt":"x","options":{"num_predict":1}}"#
    for _ in 0..<4 { #expect(try await simulator.post("/api/generate", short).status == 200, "a slot was lost") }
    #expect(simulator.program.end == nil)
  }

  @Test func `a client that leaves while it waits is forgotten`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_TOKENS": "60"])
    try await simulator.load()
    let first = try await simulator.open("/api/generate", Self.generate)
    _ = try await first.head()
    let second = try await simulator.open(
      "/api/generate", #"{"model":"llama3.2","prompt":"y","options":{"num_predict":1000000}}"#)
    let third = try await simulator.open(
      "/api/generate", #"{"model":"llama3.2","prompt":"z","stream":false,"options":{"num_predict":1}}"#)
    await second.close()
    #expect(try await third.answer().status == 200)
  }

  @Test func `a client that leaves during a load aborts it`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_LOAD_SECONDS": "30,qwen3:0.6b=0"])
    let request = try await simulator.open("/api/generate", Self.generate)
    let runner = try await eventualValue("the load has begun") { simulator.runners.first }
    await request.close()
    try await eventually("the load is aborted") { !isAlive(runner) }
    #expect(try await simulator.loadedModels.isEmpty)
    #expect(try await simulator.post("/api/generate", #"{"model":"qwen3:0.6b","prompt":"x"}"#).status == 200)
  }

  @Test func `one load at a time, and others wait`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_LOAD_SECONDS": "0.3", "OLLAMA_SIMULATOR_TOKENS": "1"])
    let began = ContinuousClock.now
    async let one = simulator.post("/api/generate", Self.generate)
    async let two = simulator.post("/api/generate", #"{"model":"qwen3:0.6b","prompt":"x"}"#)
    _ = try await (one, two)
    #expect(ContinuousClock.now - began > .milliseconds(600))
    #expect(try await simulator.loadedModels.count == 2)
  }

  @Test func `keep_alive decides how long a model stays`() async throws {
    let simulator = try await Simulator.start()
    let preloaded = try await simulator.post("/api/generate", #"{"model":"llama3.2","keep_alive":-1}"#).object
    #expect(preloaded["done_reason"] as? String == "load")
    #expect(preloaded["done"] as? Bool == true)
    let entry = try #require(try await simulator.loadedModels.first)
    #expect(entry["size"] as? Int == entry["size_vram"] as? Int)
    #expect(entry["context_length"] as? Int == 4096)
    #expect((entry["expires_at"] as? String ?? "") > "2200")
    _ = try await simulator.post("/api/generate", #"{"model":"llama3.2","prompt":"x","keep_alive":"50ms"}"#)
    try await eventually("the model expires") { try await simulator.loadedModels.isEmpty }
    try await simulator.load()
    let unloaded = try await simulator.post("/api/chat", #"{"model":"llama3.2","messages":[],"keep_alive":0}"#).object
    #expect(unloaded["done_reason"] as? String == "unload")
    #expect(try await simulator.loadedModels.isEmpty)
    try await eventually("its runner is gone") { simulator.runners.isEmpty }
  }

  @Test func `the server's own keep_alive is the default`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_KEEP_ALIVE": "100ms"])
    try await simulator.load()
    try await eventually("the model expires") { try await simulator.loadedModels.isEmpty }
  }

  @Test func `a full memory makes room for the next model`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_MAX_LOADED_MODELS": "1"])
    try await simulator.load()
    try await simulator.load("qwen3:0.6b")
    #expect(try await simulator.loadedModels.map { $0["name"] as? String } == ["qwen3:0.6b"])
    let long = try await simulator.open(
      "/api/generate", #"{"model":"qwen3:0.6b","prompt":"x","options":{"num_predict":60}}"#)
    _ = try await long.head()
    #expect(try await simulator.post("/api/generate", Self.generate).status == 200)
    // The other model was in use: its answer came to its end first.
    #expect(try await long.restOfBody().contains(#""done":true"#))
  }

  @Test func `another context length loads the model anew`() async throws {
    let simulator = try await Simulator.start()
    try await simulator.load()
    let before = simulator.runners
    _ = try await simulator.post("/api/generate", #"{"model":"llama3.2","prompt":"x","options":{"num_ctx":8192}}"#)
    #expect(try await simulator.loadedModels.first?["context_length"] as? Int == 8192)
    #expect(Set(simulator.runners).isDisjoint(with: before))
  }

  /// How long an answer took the server, from its first token to its last.
  private func nanoseconds(_ answer: HTTPProbe.Answer) -> Int { answer.lines.last?["eval_duration"] as? Int ?? 0 }

  private func answers(_ count: Int, from simulator: Simulator) async throws -> [HTTPProbe.Answer] {
    try await withThrowingTaskGroup(of: HTTPProbe.Answer.self) { group in
      for _ in 0..<count { group.addTask { try await simulator.post("/api/generate", Self.generate) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
  }
}
