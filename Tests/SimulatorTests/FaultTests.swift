import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct FaultTests {
  static let chat = #"{"model":"llama3.2","messages":[{"role":"user","content":"x"}]}"#
  static let generate = #"{"model":"llama3.2","prompt":"x"}"#

  @Test func `a dead runner ends streams as Ollama's does`() async throws {
    let simulator = try await Simulator.start([
      "OLLAMA_SIMULATOR_TOKENS": "1000000", "OLLAMA_NUM_PARALLEL": "3",
    ])
    try await simulator.load()
    let native = try await simulator.open("/api/chat", Self.chat)
    let openAI = try await simulator.open(
      "/v1/chat/completions", #"{"stream":true,"model":"llama3.2","messages":[{"role":"user","content":"x"}]}"#)
    let whole = try await simulator.open("/api/generate", #"{"model":"llama3.2","prompt":"x","stream":false}"#)
    #expect(try await native.head().status == 200)
    #expect(try await openAI.head().status == 200)
    let runner = try #require(simulator.runners.first)
    kill(runner, SIGKILL)
    let nativeText = try await native.restOfBody()
    #expect(nativeText.hasSuffix("{\"error\":\"an error was encountered while running the model: unexpected EOF\"}\n"))
    let openAIText = try await openAI.restOfBody()
    #expect(openAIText.hasSuffix("\n\n") && !openAIText.contains("[DONE]") && !openAIText.contains("\"stop\""))
    #expect(try await whole.answer().status == 500)
    #expect(try await simulator.loadedModels.count == 1, "it is listed as if nothing had happened")
    let next = try await simulator.post(
      "/api/generate", #"{"model":"llama3.2","prompt":"x","options":{"num_predict":1}}"#)
    #expect(next.status == 200)
    #expect(simulator.runners.first != runner)
  }

  @Test func `the runner's death can be ordered`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_FAULT": "runner-crash-at-token 3"])
    let answer = try await simulator.post("/api/chat", Self.chat)
    #expect(answer.lines.count == 3)
    let error = try #require(answer.lines.last?["error"] as? String)
    #expect(error.hasSuffix("unexpected EOF"))
  }

  @Test func `a crash at a token kills the server and orphans the runner`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_FAULT": "crash-at-token 3"])
    try await simulator.load()
    let runner = try #require(simulator.runners.first)
    let stream = try await simulator.open("/api/chat", Self.chat)
    let received = try await stream.readUntilClosed()
    #expect(received.components(separatedBy: #""done":false"#).count == 3)
    #expect(try await simulator.program.wait() == .killed(bySignal: SIGKILL))
    #expect(isAlive(runner))
    kill(runner, SIGKILL)
  }

  @Test func `a stall stops streams and nothing else, and can be lifted`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_TOKENS": "1000000"])
    try await simulator.load()
    let stream = try await simulator.open("/api/chat", Self.chat)
    _ = try await stream.head()
    _ = try await stream.piece()
    try simulator.setFaults("\(simulator.port): stall-at-token 1\n")
    // What was under way arrives, then nothing.
    await #expect(throws: HTTPProbeError.self) {
      while try await stream.piece(within: .milliseconds(400)) != nil {}
    }
    #expect(try await simulator.get("/api/version").status == 200)
    #expect(try await simulator.loadedModels.count == 1)
    try simulator.setFaults("")
    #expect(try await stream.piece() != nil, "it goes on")
    await stream.close()
  }

  @Test func `a hang accepts and says nothing`() async throws {
    let simulator = try await Simulator.start()
    try simulator.setFaults("hang")
    let probe = try await HTTPProbe.connect(port: simulator.port)
    try await probe.send("GET", "/api/version")
    await #expect(throws: HTTPProbeError.self) { try await probe.head(within: .milliseconds(300)) }
    try simulator.setFaults("# nothing now")
    #expect(try await simulator.get("/api/version").status == 200)
  }

  @Test func `out of memory fails the load, and only that`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_FAULT": "out-of-memory"])
    let answer = try await simulator.post("/api/chat", Self.chat)
    #expect(answer.status == 500 && answer.text.contains("out of memory"))
    #expect(try await simulator.loadedModels.isEmpty)
    #expect(simulator.program.errorOutput.contains("runtime OOM detected"))
    #expect(try await simulator.get("/api/version").status == 200)
  }

  @Test func `a fall back to the CPU shows in size_vram and in the log`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_FAULT": "cpu-fallback"])
    #expect(try await simulator.post("/api/chat", Self.chat).status == 200)
    let entry = try #require(try await simulator.loadedModels.first)
    #expect(entry["size_vram"] as? Int == 0 && entry["size"] as? Int != 0)
    #expect(try await simulator.program.line(containing: "inference compute").contains("library=cpu"))
    #expect(simulator.program.errorOutput.contains("user overrode visible devices"))
  }

  @Test func `a load without end ends with the load timeout`() async throws {
    let simulator = try await Simulator.start([
      "OLLAMA_SIMULATOR_FAULT": "load-forever", "OLLAMA_LOAD_TIMEOUT": "200ms",
    ])
    let answer = try await simulator.post("/api/chat", Self.chat)
    #expect(answer.status == 500 && answer.text.contains("timed out waiting for llama-server"))
    try await eventually("its runner is gone") { simulator.runners.isEmpty }
  }

  @Test func `starts can be slow, fail, or lead nowhere`() async throws {
    let slow = try await Simulator.start(["OLLAMA_SIMULATOR_FAULT": "slow-start 0.5"], untilReady: false)
    #expect(try await slow.secondsOfDiscovery >= 0.5)
    #expect(try await slow.get("/api/version").status == 200)

    let failing = try await Simulator.start(["OLLAMA_SIMULATOR_FAULT": "exit-at-start 3"], untilReady: false)
    #expect(try await failing.program.wait() == .exited(3))

    let never = try await Simulator.start(["OLLAMA_SIMULATOR_FAULT": "never-ready"], untilReady: false)
    try await never.program.line(containing: "Listening on")
    let probe = try await HTTPProbe.connect(port: never.port)
    try await probe.send("GET", "/api/version")
    await #expect(throws: HTTPProbeError.self) { try await probe.head(within: .milliseconds(400)) }
    #expect(try await never.program.stop() == .exited(0))
  }

  @Test func `faults find their server by its name`() async throws {
    let named = try await Simulator.start(["POOL_INSTANCE": "gpu2"])
    let other = try await Simulator.start(["POOL_INSTANCE": "gpu3"], sharing: named)
    try named.setFaults("for gpu2: out-of-memory\n*: load-seconds 0\n")
    #expect(try await named.post("/api/chat", Self.chat).status == 500)
    #expect(try await other.post("/api/chat", Self.chat).status == 200)
  }
}
