import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct StartAndStopTests {
  @Test func `a connection waits until HTTP is served`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_DISCOVERY_SECONDS": "0.5"], untilReady: false)
    try await simulator.program.line(containing: "Listening on 127.0.0.1:\(simulator.port) (version 0.33.0-simulator)")
    let answer = try await simulator.get("/api/version")
    #expect(try await simulator.secondsOfDiscovery >= 0.5)
    #expect(answer.text == #"{"version":"0.33.0-simulator"}"#)
  }

  @Test func `the log tells the GPU or the CPU`() async throws {
    let gpu = try await Simulator.start(["CUDA_VISIBLE_DEVICES": "GPU-5ec7"])
    let line = try await gpu.program.line(containing: "inference compute")
    #expect(line.contains("id=GPU-5ec7") && line.contains("library=CUDA") && line.contains("level=INFO"))
    for value in [nil, "-1"] as [String?] {
      let cpu = try await Simulator.start(["CUDA_VISIBLE_DEVICES": value])
      #expect(try await cpu.program.line(containing: "inference compute").contains("library=cpu"))
    }
    #expect(gpu.program.errorOutput.contains("stand-in"))
  }

  @Test func `a taken port, no home and a bad store end it at once with status 1`() async throws {
    let first = try await Simulator.start()
    let file = try first.folder.write("", to: "file")
    for (environment, message) in [
      (["OLLAMA_HOST": "127.0.0.1:\(first.port)"], "listen tcp 127.0.0.1:\(first.port): bind: address already in use"),
      (["HOME": nil], "$HOME is not defined"),
      (["OLLAMA_MODELS": file], "mkdir \(file)"),
      (["OLLAMA_HOST": "127.0.0.1:99999"], "invalid port"),
      (["OLLAMA_SIMULATOR_TOKENS": "many"], "OLLAMA_SIMULATOR_TOKENS"),
    ] as [([String: String?], String)] {
      let other = try await Simulator.start(environment, untilReady: false)
      #expect(try await other.program.wait() == .exited(1), "\(message)")
      try await other.program.waitForEndOfOutput()
      #expect(other.program.errorOutput.contains("Error: "), "\(message)")
      #expect(other.program.errorOutput.contains(message), "\(other.program.errorOutput)")
    }
  }

  @Test func `it tells its version, also under the name ollama`() async throws {
    let folder = try TemporaryDirectory()
    let link = folder.path(to: "ollama")
    try FileManager.default.createSymbolicLink(
      atPath: link, withDestinationPath: BuiltProduct.path("ollama-simulator"))
    let version = try await run(link, ["--version"])
    #expect(version.output == "ollama version is 0.33.0-simulator (simulator)\n")
    #expect(version.end == .exited(0))
    #expect(try await run(link, ["serve", "--help"]).output.contains("stall-at-token"))
    #expect(try await run(link, ["serve", "--nonsense"]).end == .exited(64))
  }

  @Test func `options win over variables`() async throws {
    let folder = try TemporaryDirectory()
    let port = try freePort()
    let program = try RunningProgram(
      BuiltProduct.path("ollama-simulator"),
      ["serve", "--host", "127.0.0.1:\(port)", "--models", folder.path(to: "m"), "--tokens", "2"],
      environment: ["HOME": folder.path, "OLLAMA_HOST": "127.0.0.1:1", "OLLAMA_SIMULATOR_TOKENS": "9"])
    let answer = try await eventualValue("it answers") {
      try await HTTPProbe.exchange(
        "POST", "/api/generate", port: port, body: #"{"model":"llama3.2","prompt":"x","stream":false}"#)
    }
    #expect(answer.object["eval_count"] as? Int == 2)
    #expect(try await program.stop() == .exited(0))
  }

  @Test func `SIGTERM cuts everything at once and leaves nothing`() async throws {
    let simulator = try await Simulator.start(["OLLAMA_SIMULATOR_TOKENS": "100000"])
    try await simulator.load()
    let stream = try await simulator.open(
      "/api/chat", #"{"model":"llama3.2","messages":[{"role":"user","content":"x"}]}"#)
    #expect(try await stream.head().status == 200)
    let waiting = try await simulator.open("/api/generate", #"{"model":"llama3.2","prompt":"x"}"#)
    let runners = simulator.runners
    #expect(runners.count == 1)
    let began = ContinuousClock.now
    simulator.program.signal(SIGTERM)
    #expect(try await simulator.program.wait() == .exited(0))
    #expect(ContinuousClock.now - began < .seconds(2), "milliseconds, but for a busy machine")
    #expect(try await waiting.readUntilClosed() == "")
    #expect(!(try await stream.readUntilClosed()).contains("\"done\":true"))
    try await eventually("the runner is gone") { !runners.contains(where: isAlive) }
  }

  @Test func `the runner outlives a SIGKILL, in the server's process group`() async throws {
    let simulator = try await Simulator.start()
    try await simulator.load()
    let runner = try #require(simulator.runners.first)
    simulator.program.signal(SIGKILL)
    #expect(try await simulator.program.wait() == .killed(bySignal: SIGKILL))
    // Nobody holds the server's output or port any more, and yet the runner lives.
    try await simulator.program.waitForEndOfOutput()
    #expect(isAlive(runner))
    #expect(getpgid(runner) == simulator.program.processID)
    let next = try await Simulator.start(["OLLAMA_HOST": "127.0.0.1:\(simulator.port)"], untilReady: false)
    try await next.program.line(containing: "Listening on")
    #expect(kill(runner, SIGTERM) == 0)
    try await eventually("the runner obeys SIGTERM") { !isAlive(runner) }
  }
}
