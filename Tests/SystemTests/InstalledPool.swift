import Foundation
import Glibc
import TestSupport

/// The pool on a machine with four GPUs, installed and driven as an operator does it: `make install`, a configuration,
/// `systemctl`, and the command line. The simulator stands for `ollama`.
actor InstalledPool {
  /// What `ollama-pool status --json` tells.
  struct Status: Decodable {
    struct Instance: Decodable {
      var id: String
      var state: String
      var gpus: [String]
      var url: String?
      var unit: String?
      var mainPID: Int32?
      var slots: Int
      var active: Int
      var reason: String?
      var failures: Int?
      var retryInSeconds: Double?
      var placement: String?
    }
    /// Where the models are.
    struct Store: Decodable {
      var path: String
      var source: String
      var owner: String?
      var refusal: String?
      var writer: String?
    }
    var maxConcurrent: Int
    var queueDepth: Int
    var inFlight: Int
    var desired: Int
    var instances: [Instance]
    var store: Store?
    var problems: [String]

    func instance(_ id: String) -> Instance? { instances.first { $0.id == id } }
    var running: [Instance] { instances.filter { $0.mainPID != nil } }
  }

  static let port = 11434
  static let faults = "/etc/ollama-simulator.faults"
  static let configuration = "/etc/ollama-pool/ollama-pool.yaml"
  static let supervisor = "ollama-pool-supervisor.service"
  static let dispatcher = "ollama-pool-dispatcher.service"

  /// Where the journal stood when the test began: what earlier tests left there proves nothing.
  var storyBegins: String?

  /// Starts the pool with `settings` added to the configuration for tests, runs `body`, and stops everything.
  static func running(
    _ settings: String = "", gpus: String = fourGPUs, environment: [String: String] = [:],
    _ body: (InstalledPool) async throws -> Void
  ) async throws {
    let pool = InstalledPool()
    try await pool.installOnce()
    try await pool.configure(settings, gpus: gpus, environment: environment)
    try await pool.setFaults("")
    // What an earlier test's operator ordered, and its users asked.
    for state in ["/var/lib/ollama-pool", "/var/lib/ollama-pool-dispatcher"] {
      try? FileManager.default.removeItem(atPath: state)
    }
    try await pool.beginStory()
    do {
      try await systemctl("start", "ollama-pool.target")
      try await body(pool)
      try await pool.stop()
    } catch {
      print(await pool.journal())
      await pool.clearAway()
      throw error
    }
  }

  func installOnce() async throws {
    if Self.isInstalledAlready { return }
    let products = (BuiltProduct.path("ollama-pool") as NSString).deletingLastPathComponent
    let install = try await run(
      PackageRoot.path(to: "scripts/install.sh"), environment: ["PREFIX": "/usr", "PROGRAMS": products],
      within: .seconds(120))
    guard install.end == .exited(0) else { throw Failed("install.sh: \(install.output)\(install.errorOutput)") }
    _ = try await run("ln", ["-sf", "/usr/bin/ollama-simulator", "/usr/local/bin/ollama"])
  }

  /// The private systemd lives for one run of the suite, and its file system with it.
  private static var isInstalledAlready: Bool { FileManager.default.fileExists(atPath: "/usr/bin/ollama-simulator") }

  /// The simulator at a pace at which tests are quick and see what happens.
  static let simulator = [
    "OLLAMA_SIMULATOR_FAULTS": faults, "OLLAMA_SIMULATOR_DISCOVERY_SECONDS": "0.1",
    "OLLAMA_SIMULATOR_LOAD_SECONDS": "0.05", "OLLAMA_SIMULATOR_TOKENS_PER_SECOND": "50",
  ]

  /// The GPUs as a list in the configuration.
  static let fourGPUs =
    "gpus:\n"
    + (0..<4).map { "  - {uuid: GPU-0000000\($0), name: Test GPU, memory: 24GiB, nodes: [/dev/nvidia\($0)]}" }
    .joined(separator: "\n")

  /// `environment` as the configuration has it.
  static func environmentKey(_ environment: [String: String] = [:]) -> String {
    let variables = simulator.merging(environment) { $1 }.sorted { $0.key < $1.key }
    return "environment:\n" + variables.map { "  \($0.key): \"\($0.value)\"" }.joined(separator: "\n")
  }

  func configure(
    _ settings: String = "", gpus: String = fourGPUs, environment: [String: String] = [:]
  ) async throws {
    let text = """
      \(gpus)
      \(Self.environmentKey(environment))
      \(settings.contains("scaling:") ? "" : "scaling: {cold_start: 1s, window: 2s, shrink: 100%, idle_hold: 1s}")
      \(settings)
      """
    try text.write(toFile: Self.configuration, atomically: false, encoding: .utf8)
    _ = try await run("chgrp", ["ollama-pool", Self.configuration])
    _ = try await run("chmod", ["0640", Self.configuration])
  }

  /// - Parameter lines: `gpu2: crash-at-token 5` and the like; `ollama-simulator --help` lists them.
  func setFaults(_ lines: String) throws {
    try lines.write(toFile: Self.faults, atomically: false, encoding: .utf8)
  }

  /// Stops the target and waits until nothing of the pool is left.
  func stop() async throws {
    try await systemctl("stop", "ollama-pool.target")
    var left: [String] = []
    do {
      try await eventually(within: .seconds(30), "nothing of the pool is left") {
        left = try await self.activeUnits("ollama-*")
        left += try await self.processes(named: "ollama-simulator").map { "process \($0)" }
        return left.isEmpty
      }
    } catch {
      throw Failed("\(error); left is: \(left.joined(separator: ", "))")
    }
    _ = try await run("systemctl", ["reset-failed"])
  }

  /// After a failed test, so that it costs no other one.
  private func clearAway() async {
    _ = try? await run("systemctl", ["stop", "--no-block", "ollama-pool.target"])
    _ = try? await run("systemctl", ["kill", "--signal=KILL", "ollama-pool-*.service", "ollama-instance-*.service"])
    for process in (try? await processes(named: "ollama-simulator")) ?? [] { Glibc.kill(process, SIGKILL) }
    try? await stop()
  }

  // MARK: Looking

  func status() async throws -> Status {
    let command = try await run("/usr/bin/ollama-pool", ["status", "--json"])
    do {
      return try JSONDecoder().decode(Status.self, from: Data(command.output.utf8))
    } catch {
      throw Failed("ollama-pool status --json: \(command.output)\(command.errorOutput): \(error)")
    }
  }

  /// Waits until the status is as expected, and returns it.
  @discardableResult
  func status(
    within limit: Duration = .seconds(20), _ expectation: String, _ condition: (Status) -> Bool
  ) async throws -> Status {
    var last: Status?
    do {
      return try await eventualValue(within: limit, every: .milliseconds(50), expectation) {
        last = try await self.status()
        return last.flatMap { condition($0) ? $0 : nil }
      }
    } catch {
      throw Failed("\(error); the last status was \(last.map { "\($0)" } ?? "none")")
    }
  }

  /// Waits until the metrics count a start that failed.
  func countsAFailedStart() async throws {
    try await eventually(within: .seconds(20), "the metrics count a failed start") {
      let text = try await HTTPProbe.exchange("GET", "/metrics", port: 11435).text
      let sample = text.firstMatch(of: /\nollama_pool_instance_starts_total\{result="failed"\} ([0-9]+)\n/)
      return sample.flatMap { Int($0.1) } ?? 0 > 0
    }
  }

  func ready(_ count: Int, within limit: Duration = .seconds(20)) async throws -> Status {
    try await status(within: limit, "\(count) instances are healthy") { $0.maxConcurrent == count }
  }

  func activeUnits(_ pattern: String) async throws -> [String] {
    let list = try await run(
      "systemctl", ["list-units", "--plain", "--no-legend", "--state=active,activating,deactivating", pattern])
    return list.output.split(separator: "\n").compactMap { $0.split(separator: " ").first.map(String.init) }
      .filter { !$0.hasSuffix(".slice") }.sorted()
  }

  func instanceUnits() async throws -> [String] { try await activeUnits("ollama-instance-*.service") }

  func property(_ name: String, of unit: String) async throws -> String {
    let show = try await run("systemctl", ["show", "--value", "-p", name, unit])
    return show.output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  func mainPID(of unit: String) async throws -> Int32 { Int32(try await property("MainPID", of: unit)) ?? 0 }

  /// When the unit last became active, which a Type=notify service does with its READY, since the machine's start.
  func becameActive(_ unit: String) async throws -> Duration {
    try await time("ActiveEnterTimestampMonotonic", of: unit)
  }

  /// A property that is a time since the machine's start.
  func time(_ name: String, of unit: String) async throws -> Duration {
    let text = try await property(name, of: unit)
    guard let microseconds = Int64(text), microseconds > 0 else { throw Failed("\(name) of \(unit) is '\(text)'") }
    return .microseconds(microseconds)
  }

  /// What a process was started with: "NAME=value" each.
  nonisolated func variables(of process: Int32?) throws -> [String] {
    guard let process else { throw Failed("there is no such process") }
    return try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8).split(separator: "\0").map(
      String.init)
  }

  func processes(named name: String) async throws -> [Int32] {
    let list = try await run("pgrep", ["-f", name])
    return list.output.split(separator: "\n").compactMap { Int32($0) }
  }

  /// What `ollama-pool queue list --json` tells of a request.
  struct Request: Decodable {
    var id: Int
    var instance: String?
    /// Its answer.
    var begun: Bool
  }

  /// In order of arrival.
  func requests() async throws -> [Request] {
    let command = try await run("/usr/bin/ollama-pool", ["queue", "list", "--json"])
    guard command.end == .exited(0) else { throw Failed("ollama-pool queue list: \(command.errorOutput)") }
    return try JSONDecoder().decode([Request].self, from: Data(command.output.utf8))
  }

  /// Waits until `value` finds something in the list of requests, and returns it.
  @discardableResult
  func requests<Value>(
    within limit: Duration = .seconds(20), _ expectation: String, _ value: ([Request]) -> Value?
  ) async throws -> Value {
    try await eventualValue(within: limit, every: .milliseconds(20), expectation) { value(try await self.requests()) }
  }

  // MARK: Doing

  func pool(_ arguments: String...) async throws -> (output: String, errorOutput: String, end: ProgramEnd) {
    try await run("/usr/bin/ollama-pool", arguments)
  }

  func kill(_ signal: String, _ unit: String) async throws {
    _ = try await run("systemctl", ["kill", "--kill-whom=main", "--signal=\(signal)", unit])
  }
}

struct Failed: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Runs `body` while systemd starts none of the units. It may unmask them itself.
func masking(_ units: String..., body: () async throws -> Void) async throws {
  func change(_ verb: String) async throws {
    let command = try await run("systemctl", [verb, "--runtime"] + units)
    guard command.end == .exited(0) else { throw Failed("systemctl \(verb) \(units): \(command.errorOutput)") }
  }
  try await change("mask")
  do {
    try await body()
  } catch {
    try? await change("unmask")
    throw error
  }
  try await change("unmask")
}

func systemctl(_ arguments: String...) async throws {
  let command = try await run("systemctl", arguments)
  guard command.end == .exited(0) else {
    throw Failed("systemctl \(arguments.joined(separator: " ")): \(command.output)\(command.errorOutput)")
  }
}

/// systemd's clock: the time since the machine's start, without the time in suspension.
enum MonotonicTime {
  static var now: Duration {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
  }

  static func of(_ instant: ContinuousClock.Instant) -> Duration { now - (ContinuousClock.now - instant) }
}
