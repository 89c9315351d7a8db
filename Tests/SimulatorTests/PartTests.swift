import Testing

@testable import ollama_simulator

@Suite struct PartTests {
  @Test(arguments: [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    (String(repeating: "a", count: 1000), "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"),
  ])
  func `digests are those of FIPS 180-4`(text: String, digest: String) {
    #expect(SHA256.hex(text.utf8) == digest)
  }

  @Test(arguments: [
    ("5m", KeepAlive.seconds(300)), ("1h30m", .seconds(5400)), ("300", .seconds(300)), ("0", .seconds(0)),
    ("-1", .forever), ("-1s", .forever), ("1.5s", .seconds(1.5)), ("250ms", .seconds(0.25)),
  ])
  func `durations are read as Go writes them`(text: String, expected: KeepAlive) {
    #expect(KeepAlive(text: text) == expected)
  }

  @Test(arguments: ["", "five", "5x", "m", "5m3", "--1s"])
  func `what is no duration is refused`(text: String) { #expect(KeepAlive(text: text) == nil) }

  @Test(arguments: [
    ("", "127.0.0.1", 11434), ("0.0.0.0", "0.0.0.0", 11434), (":1234", "127.0.0.1", 1234), ("h:1", "h", 1),
    ("http://h:1/x", "h", 1), ("[::1]:99", "::1", 99), ("::1", "::1", 11434), ("[::1]", "::1", 11434),
  ])
  func `OLLAMA_HOST is read as Ollama reads it`(text: String, host: String, port: Int) throws {
    let settings = try Settings(environment: ["HOME": "/", "OLLAMA_HOST": text], options: [:])
    #expect(settings.host == host && settings.port == port)
  }

  @Test func `loads can differ by model`() throws {
    let settings = try Settings(
      environment: ["HOME": "/", "OLLAMA_SIMULATOR_LOAD_SECONDS": "2, llama3.2=7,qwen3:0.6b=0.5"], options: [:])
    #expect(settings.behaviour.loadSeconds == 2)
    #expect(settings.behaviour.loadSecondsByModel == ["llama3.2:latest": 7, "qwen3:0.6b": 0.5])
  }

  @Test func `what is made at once slows down as it is told`() throws {
    func behaviour(_ options: [String: String]) throws -> Settings.Behaviour {
      try Settings(environment: ["HOME": "/"], options: options).behaviour
    }
    let shared = try behaviour(["TOKENS_PER_SECOND": "50", "FIRST_TOKEN_SECONDS": "0.25"])
    #expect([0, 1, 2, 4].map(shared.secondsPerToken) == [0.02, 0.02, 0.04, 0.08])
    #expect(shared.secondsToFirstToken(promptTokens: 1_000) == 0.25)
    let batched = try behaviour([
      "TOKENS_PER_SECOND": "50", "SLOWDOWN": "0.25", "FIRST_TOKEN_SECONDS": "0.25", "PROMPT_TOKENS_PER_SECOND": "2000",
    ])
    #expect([1, 2, 5].map(batched.secondsPerToken) == [0.02, 0.025, 0.04])
    #expect(batched.secondsToFirstToken(promptTokens: 1_000) == 0.75)
    #expect(try behaviour(["TOKENS_PER_SECOND": "0", "SLOWDOWN": "3"]).secondsPerToken(active: 2) == 0)
    let slowest = try behaviour(["TOKENS_PER_SECOND": "0.000001", "SLOWDOWN": "1e15", "FIRST_TOKEN_SECONDS": "1e15"])
    #expect(slowest.secondsPerToken(active: 2) == 1e9 && slowest.secondsToFirstToken(promptTokens: 1) == 1e9)
    #expect(throws: SimulatorError.self) { try behaviour(["SLOWDOWN": "-1"]) }
  }

  @Test func `faults are read by line and by name`() {
    var complaints: [String] = []
    let faults = Fault.parse(
      """
      # a comment
      gpu1: hang
      for gpu2: crash-at-token 5, cpu-fallback
      11500: stall-at-token
      *: load-seconds 1.5
      never-ready now
      nonsense
      crash-at-token
      """, names: ["gpu2", "11500"]
    ) { complaints.append($0) }
    #expect(faults == [.crashAtToken(5), .cpuFallback, .stallAtToken(0), .loadSeconds(1.5)])
    #expect(complaints == ["never-ready now", "nonsense", "crash-at-token"])
  }

  @Test func `every fault in the help is one`() {
    for line in Fault.help.split(separator: "\n") {
      let words = line.split(separator: " ")
      let takesNumber = words[1].contains { $0.isUppercase }
      #expect(Fault(takesNumber ? "\(words[0]) 1" : "\(words[0])") != nil, "\(line)")
    }
  }

  @Test func `JSON keeps its order and its meaning`() {
    let json: JSON = ["b": 1, "a": [true, .null, "x\"y", .number(1.5)], "left out": nil, "c": [:]]
    #expect(String(decoding: json.bytes, as: UTF8.self) == #"{"b":1,"a":[true,null,"x\"y",1.5],"c":{}}"#)
    #expect(JSON.parse(json.bytes)?["a"]?.array?[2].string == "x\"y")
    #expect(JSON.parse(Array("{".utf8)) == nil)
  }

  @Test func `words follow seed and prompt`() {
    func text(_ seed: UInt64, _ prompt: String) -> String {
      let words = Words(seed: seed, prompt: prompt)
      return (0..<20).map(words.word).joined()
    }
    #expect(text(1, "a") == text(1, "a"))
    #expect(text(1, "a") != text(2, "a"))
    #expect(text(1, "a") != text(1, "b"))
  }
}
