import Foundation
import Glibc
import Synchronization
import TestSupport

/// A running `ollama-pool serve` with folders, ports and a configuration of its own, and the simulator as `ollama`.
final class Pool: Sendable {
  /// What a test may want otherwise.
  struct Setup: Sendable {
    /// Stand-ins without device nodes; 0 is `cpu`.
    var gpus = 1
    /// A folder of simulated GPUs, to be found as a driver's.
    var simulatedGPUs: String?
    /// Further keys of the configuration, as YAML.
    var settings = ""
    /// Variables of the simulator without OLLAMA_SIMULATOR_.
    var simulator: [String: String] = [:]
    /// Variables of Ollama's own.
    var ollamaVariables: [String: String] = [:]
    /// Faults of the simulator that are in force from the beginning.
    var faults = ""
    /// Further arguments of `serve`.
    var arguments: [String] = []
    /// Where `serve` is told to listen; nil: a free port.
    var port: Int?
    var ollama = BuiltProduct.path("ollama-simulator")
  }

  /// Fast, so that tests are: a load of 50 ms, eight tokens at 100 a second.
  private static let quick = [
    "TOKENS": "8", "TOKENS_PER_SECOND": "100", "FIRST_TOKEN_SECONDS": "0.01", "LOAD_SECONDS": "0.05",
    "DISCOVERY_SECONDS": "0.01", "PULL_SECONDS": "0.1",
  ]

  private let running: Mutex<RunningProgram>
  private let launch: @Sendable () throws -> RunningProgram
  let folder: TemporaryDirectory
  let configuration: String
  let port: Int
  let metricsPort: Int
  let instancePorts: Int
  /// The folder of both control sockets.
  let sockets: String

  /// Starts one, and waits for nothing.
  init(_ setup: Setup = Setup()) throws {
    folder = try TemporaryDirectory()
    port = try setup.port ?? freePort()
    metricsPort = try freePort()
    instancePorts = InstancePorts.next()
    sockets = folder.path(to: "run")
    try folder.write(setup.faults, to: "faults")
    var variables = Self.quick.merging(setup.simulator) { $1 }
    variables["FAULTS"] = folder.path(to: "faults")
    let ofInstances = variables.map { ("OLLAMA_SIMULATOR_\($0)", $1) } + setup.ollamaVariables.map { ($0, $1) }
    let gpus =
      setup.simulatedGPUs != nil
      ? "gpus: auto"
      : setup.gpus == 0
        ? "gpus: cpu" : "gpus:\n" + (0..<setup.gpus).map { "  - uuid: GPU-test-\($0)" }.joined(separator: "\n")
    configuration = try folder.write(
      """
      listen: [127.0.0.1:\(port)]
      metrics_listen: 127.0.0.1:\(metricsPort)
      launcher: child
      ollama: \(setup.ollama)
      instance_ports: \(instancePorts)
      models_path: \(folder.path(to: "models"))
      \(gpus)
      environment:
      \(ofInstances.map { "  \($0): \"\($1)\"" }.joined(separator: "\n"))
      \(setup.settings)
      """, to: "ollama-pool.yaml")
    launch = { [folder, configuration, sockets] in
      try RunningProgram(
        BuiltProduct.path("ollama-pool"),
        ["serve", "--config", configuration, "--socket", sockets, "--state", folder.path(to: "state")]
          + setup.arguments,
        environment: [
          "HOME": folder.path, "XDG_RUNTIME_DIR": folder.path, "XDG_STATE_HOME": nil, "XDG_CONFIG_HOME": nil,
          "LD_LIBRARY_PATH": setup.simulatedGPUs, "OLLAMA_SIMULATOR_GPUS": setup.simulatedGPUs,
          "OLLAMA_POOL_SOCKET": nil, "OLLAMA_HOST": nil, "NOTIFY_SOCKET": nil, "LISTEN_FDS": nil, "JOURNAL_STREAM": nil,
        ])
    }
    running = Mutex(try launch())
  }

  /// The one that was started last.
  var program: RunningProgram { running.withLock { $0 } }

  /// Starts it again once it has ended, in the same folders and on the same ports.
  @discardableResult
  func startAgain() throws -> RunningProgram {
    let program = try launch()
    running.withLock { $0 = program }
    return program
  }

  // MARK: Its end

  /// Ends it as Ctrl-C does, and holds it to what that promises: exit status 0, and no process left.
  func stop(within limit: Duration = .seconds(20)) async throws {
    program.signal(SIGINT)
    let end = try await program.wait(within: limit)
    guard end == .exited(0) else { throw PoolFailure("after SIGINT `serve` ended with \(end)", self) }
    try await expectNothingLeft()
  }

  /// Waits until none of its processes is there.
  func expectNothingLeft(within limit: Duration = .seconds(5)) async throws {
    try await eventually(within: limit, "no process of the pool is left, not as now: \(processes)") {
      processes.isEmpty
    }
  }

  /// Kills whatever is left of it.
  func kill() {
    program.killTree()
    for process in processes { Glibc.kill(process.id, SIGKILL) }
  }

  struct Process: CustomStringConvertible {
    let id: Int32
    let command: String
    var isInstance: Bool { command == BuiltProduct.path("ollama-simulator") + " serve" }
    var description: String { "\(id) (\(command))" }
  }

  /// All that have this pool's folder in their environment: `serve`, and whatever it started, however it is related.
  var processes: [Process] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { Int32($0) }.filter { $0 != getpid() }.compactMap { id in
      guard let environment = try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(id)/environ")),
        environment.range(of: Data("\(folder.path)/".utf8)) != nil
          || environment.range(of: Data("HOME=\(folder.path)\0".utf8)) != nil
      else { return nil }
      let line = (try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(id)/cmdline"))) ?? Data()
      let command = String(decoding: line, as: UTF8.self).split(separator: "\0").joined(separator: " ")
      return Process(id: id, command: command)
    }
  }

  // MARK: Talking to it

  func get(_ path: String, headers: [(String, String)] = []) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange("GET", path, port: port, headers: headers)
  }

  func post(
    _ path: String, _ body: String, headers: [(String, String)] = [], within limit: Duration = .seconds(30)
  ) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange("POST", path, port: port, headers: headers, body: body, within: limit)
  }

  /// Begins a request, and leaves it open.
  func open(_ path: String, _ body: String) async throws -> HTTPProbe {
    let probe = try await HTTPProbe.connect(port: port)
    try await probe.send("POST", path, body: body)
    return probe
  }

  /// Begins a stream of so many tokens and leaves it open; it may have to wait for its turn.
  func openStream(tokens: Int, prompt: String = "hello") async throws -> HTTPProbe {
    try await open("/api/generate", Self.generation(tokens: tokens, prompt: prompt))
  }

  static func generation(tokens: Int, prompt: String = "hello") -> String {
    #"{"model":"llama3.2","prompt":"\#(prompt)","options":{"num_predict":\#(tokens)}}"#
  }

  /// What the operator's command line says to `arguments`.
  func command(_ arguments: String...) async throws -> (output: String, errorOutput: String, end: ProgramEnd) {
    try await run(BuiltProduct.path("ollama-pool"), arguments + ["--socket", sockets])
  }

  /// The port of the first instance, once the supervisor too has heard that it is ready.
  func instancePort() async throws -> Int {
    try await eventualValue("the status tells an instance's port") { try await self.status.instancePorts.first }
  }

  var status: PoolStatus {
    get async throws {
      let result = try await command("status", "--json")
      guard result.end == .exited(0) else { throw PoolFailure("`status --json`: \(result.errorOutput)", self) }
      return try JSONDecoder().decode(PoolStatus.self, from: Data(result.output.utf8))
    }
  }

  /// Waits until the status is as it should be, and returns it.
  @discardableResult
  func status(
    within limit: Duration = .seconds(20), until expectation: String, _ condition: (PoolStatus) -> Bool
  ) async throws -> PoolStatus {
    var last: PoolStatus?
    do {
      return try await eventualValue(within: limit, every: .milliseconds(50), expectation) {
        let now = try await status
        last = now
        return condition(now) ? now : nil
      }
    } catch let error as NeverHappened {
      throw PoolFailure("\(error); the last status: \(last.map { "\($0)" } ?? "none")", self)
    }
  }

  /// What `queue list` tells, in order of arrival.
  var requests: [PoolRequest] {
    get async throws {
      let result = try await command("queue", "list", "--json")
      guard result.end == .exited(0) else { throw PoolFailure("`queue list --json`: \(result.errorOutput)", self) }
      return try JSONDecoder().decode([PoolRequest].self, from: Data(result.output.utf8))
    }
  }

  /// Waits until the instances have at least so many slots.
  func isReady(for count: Int = 1) async throws {
    try await status(until: "\(count) requests can run at once") { $0.maxConcurrent >= count }
  }

  /// Waits until nobody holds a slot or waits for one: nothing leaked.
  func expectIdle(within limit: Duration = .seconds(5)) async throws {
    try await status(within: limit, until: "no request holds a slot or waits") {
      $0.inFlight == 0 && $0.queueDepth == 0
    }
  }
}

/// What `status --json` promises to programs.
struct PoolStatus: Decodable, Sendable {
  struct Instance: Decodable, Sendable {
    let id: String
    let state: String
    let gpus: [String]
    let url: String?
    let unit: String?
    let mainPID: Int32?
    let slots: Int
    let active: Int
  }

  struct FrontEnd: Decodable, Equatable, Sendable {
    let name: String
    let depth: Int
  }

  let health: String
  let maxConcurrent: Int
  let queueDepth: Int
  let inFlight: Int
  let frontEnds: [FrontEnd]
  let desired: Int
  let endpoints: [String]
  let instances: [Instance]

  /// The ports of the instances that are ready.
  var instancePorts: [Int] {
    instances.filter { $0.state == "ready" }.compactMap { instance in
      instance.url.flatMap { URL(string: $0.contains("://") ? $0 : "http://\($0)")?.port }
    }
  }
}

/// A request in `queue list --json`.
struct PoolRequest: Decodable, Sendable {
  let id: Int
  /// Its place in the queue; nil once it is served.
  let position: Int?
  let instance: String?
}

/// Something about the pool, with what it wrote.
struct PoolFailure: Error, CustomStringConvertible {
  let description: String

  init(_ problem: String, _ pool: Pool) {
    description = "\(problem)\n--- serve wrote:\n\(pool.program.output)\(pool.program.errorOutput)"
  }
}

/// Runs `body` against a pool that is ready, and stops it as Ctrl-C does: nothing may be left.
func withPool(_ setup: Pool.Setup = Pool.Setup(), _ body: (Pool) async throws -> Void) async throws {
  let pool = try Pool(setup)
  defer { pool.kill() }
  do {
    try await pool.isReady()
    try await body(pool)
  } catch let error as PoolFailure {
    throw error
  } catch {
    throw PoolFailure("\(error)", pool)
  }
  try await pool.stop()
}

/// Ranges of ports for the instances of pools that run at the same time.
private enum InstancePorts {
  /// Below the ports that the kernel gives out, and different for test runs at the same time.
  private static let first = 12_000 + Int(getpid() % 80) * 100
  private static let given = Mutex(0)

  static func next() -> Int {
    first + given.withLock { count in
      defer { count += 1 }
      return count % 20
    } * 5
  }
}

extension HTTPProbe.Answer {
  /// The JSON object in the body; empty where there is none.
  var object: [String: Any] {
    (try? JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]) ?? [:]
  }
}

extension HTTPProbe {
  /// The rest of the body of an answer whose head has been read.
  func restOfBody(within limit: Duration = .seconds(30)) async throws -> String {
    var text = ""
    while let piece = try await piece(within: limit) { text += piece.text }
    return text
  }
}
