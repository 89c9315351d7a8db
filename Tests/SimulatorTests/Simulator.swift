import Foundation
import TestSupport

/// A running `ollama-simulator serve` with a model store and a home of its own, unless told otherwise.
final class Simulator: Sendable {
  let program: RunningProgram
  let port: Int
  let folder: TemporaryDirectory

  private init(program: RunningProgram, port: Int, folder: TemporaryDirectory) {
    self.program = program
    self.port = port
    self.folder = folder
  }

  /// Fast, so that tests are: a load of 50 ms, eight tokens at 200 a second.
  static let quick: [String: String?] = [
    "OLLAMA_SIMULATOR_TOKENS": "8", "OLLAMA_SIMULATOR_TOKENS_PER_SECOND": "200",
    "OLLAMA_SIMULATOR_FIRST_TOKEN_SECONDS": "0.01", "OLLAMA_SIMULATOR_LOAD_SECONDS": "0.05",
    "OLLAMA_SIMULATOR_DISCOVERY_SECONDS": "0.01", "OLLAMA_SIMULATOR_PULL_SECONDS": "0.05",
    "OLLAMA_NUM_PARALLEL": nil, "OLLAMA_MAX_QUEUE": nil, "OLLAMA_KEEP_ALIVE": nil, "CUDA_VISIBLE_DEVICES": "GPU-test",
    "ROCR_VISIBLE_DEVICES": nil, "POOL_INSTANCE": nil,
  ]

  /// Starts one, and waits for its first 200.
  static func start(
    _ environment: [String: String?] = [:], sharing other: Simulator? = nil, untilReady: Bool = true
  ) async throws -> Simulator {
    let folder = try other?.folder ?? TemporaryDirectory()
    var variables = quick
    variables["OLLAMA_HOST"] = "127.0.0.1:0"
    variables["OLLAMA_MODELS"] = folder.path(to: "models")
    variables["HOME"] = folder.path
    variables["OLLAMA_SIMULATOR_FAULTS"] = folder.path(to: "faults")
    variables.merge(environment) { $1 }
    let program = try RunningProgram(
      BuiltProduct.path("ollama-simulator"), ["serve"], environment: variables)
    // One that cannot start has no port.
    let line = try await eventualValue("the simulator listens or ends") {
      let line = program.errorOutputLines.first { $0.contains("Listening on ") }
      return line.map(String.init) ?? (program.end == nil ? nil : "")
    }
    let port = line.firstMatch(of: /127\.0\.0\.1:(\d+)/).flatMap { Int($0.output.1) } ?? 0
    let simulator = Simulator(program: program, port: port, folder: folder)
    if untilReady {
      try await eventually("the simulator answers: \(program.errorOutput)") {
        try await simulator.get("/api/version").status == 200
      }
    }
    return simulator
  }

  /// Puts faults in force from the next request on.
  func setFaults(_ text: String) throws { try folder.write(text, to: "faults") }

  // MARK: Requests

  func get(_ path: String, headers: [(String, String)] = []) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange("GET", path, port: port, headers: headers)
  }

  func post(_ path: String, _ body: String, headers: [(String, String)] = []) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange("POST", path, port: port, headers: headers, body: body)
  }

  /// Begins a request, and leaves it open.
  func open(_ path: String, _ body: String) async throws -> HTTPProbe {
    let probe = try await HTTPProbe.connect(port: port)
    try await probe.send("POST", path, body: body)
    return probe
  }

  /// Loads a model, so that what follows needs no load.
  func load(_ model: String = "llama3.2") async throws {
    _ = try await post("/api/generate", #"{"model":"\#(model)"}"#)
  }

  /// The processes that stand for loaded models.
  var runners: [Int32] {
    let tasks = "/proc/\(program.processID)/task"
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? []
    return threads.flatMap { thread -> [Int32] in
      let text = (try? String(contentsOfFile: "\(tasks)/\(thread)/children", encoding: .utf8)) ?? ""
      return text.split(separator: " ").compactMap { Int32($0) }
    }
  }

  /// From listening to serving HTTP, by the log's own times.
  var secondsOfDiscovery: Double {
    get async throws {
      let format = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
      var times: [Date] = []
      for text in ["Listening on", "inference compute"] {
        let line = try await program.line(containing: text)
        times.append(try Date(String(line.dropFirst("time=".count).prefix { $0 != " " }), strategy: format))
      }
      return times[1].timeIntervalSince(times[0])
    }
  }

  var loadedModels: [[String: Any]] {
    get async throws { try await get("/api/ps").object["models"] as? [[String: Any]] ?? [] }
  }
}

/// Whether a process is there, and no zombie.
func isAlive(_ processID: Int32) -> Bool {
  guard let text = try? String(contentsOfFile: "/proc/\(processID)/stat", encoding: .utf8),
    let nameEnd = text.lastIndex(of: ")")
  else { return false }
  return !text[nameEnd...].hasPrefix(") Z")
}

extension HTTPProbe.Answer {
  /// The JSON object in the body; empty where there is none.
  var object: [String: Any] { JSONText.object(text) }
  /// The JSON objects in the body, one a line.
  var lines: [[String: Any]] { JSONText.lines(text) }
  /// The events in the body: their names (empty where they have none) and their data.
  var events: [(name: String, data: String)] {
    text.components(separatedBy: "\n\n").filter { !$0.isEmpty }.map { event in
      var name = ""
      var data = ""
      for line in event.split(separator: "\n") {
        if line.hasPrefix("event: ") { name = String(line.dropFirst(7)) }
        if line.hasPrefix("data: ") { data = String(line.dropFirst(6)) }
      }
      return (name, data)
    }
  }
}

extension HTTPProbe {
  /// The rest of the body of an answer whose head has been read.
  func restOfBody() async throws -> String {
    var text = ""
    while let piece = try await piece() { text += piece.text }
    return text
  }
}

enum JSONText {
  static func lines(_ text: String) -> [[String: Any]] { text.split(separator: "\n").map { object(String($0)) } }

  static func object(_ text: String) -> [String: Any] {
    (try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) ?? [:]
  }
}
