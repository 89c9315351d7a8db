import Foundation
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
    }
    var maxConcurrent: Int
    var queueDepth: Int
    var inFlight: Int
    var desired: Int
    var instances: [Instance]

    func instance(_ id: String) -> Instance? { instances.first { $0.id == id } }
    var running: [Instance] { instances.filter { $0.mainPID != nil } }
  }

  static let port = 11434
  static let faults = "/etc/ollama-simulator.faults"
  static let configuration = "/etc/ollama-pool/ollama-pool.yaml"
  static let daemons = ["ollama-pool-supervisor.service", "ollama-pool-dispatcher.service"]

  /// Starts the pool with `settings` added to the configuration for tests, runs `body`, and stops everything.
  static func running(
    _ settings: String = "", environment: [String: String] = [:], _ body: (InstalledPool) async throws -> Void
  ) async throws {
    let pool = InstalledPool()
    try await pool.installOnce()
    try await pool.configure(settings, environment: environment)
    try await pool.setFaults("")
    // What an earlier test's operator ordered.
    try? FileManager.default.removeItem(atPath: "/var/lib/ollama-pool")
    try await systemctl("start", "ollama-pool.target")
    do {
      try await body(pool)
    } catch {
      print(await pool.journal(lines: 80))
      try? await pool.stop()
      throw error
    }
    try await pool.stop()
  }

  private func installOnce() async throws {
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

  func configure(_ settings: String = "", environment: [String: String] = [:]) async throws {
    var variables = [
      "OLLAMA_SIMULATOR_FAULTS": Self.faults, "OLLAMA_SIMULATOR_DISCOVERY_SECONDS": "0.1",
      "OLLAMA_SIMULATOR_LOAD_SECONDS": "0.05", "OLLAMA_SIMULATOR_TOKENS_PER_SECOND": "50",
    ]
    variables.merge(environment) { $1 }
    let gpus = (0..<4).map { "  - {uuid: GPU-0000000\($0), name: Test GPU, memory: 24GiB, nodes: [/dev/nvidia\($0)]}" }
    let text = """
      gpus:
      \(gpus.joined(separator: "\n"))
      environment:
      \(variables.sorted { $0.key < $1.key }.map { "  \($0.key): \"\($0.value)\"" }.joined(separator: "\n"))
      \(settings.contains("scaling:") ? "" : "scaling: {cold_start: 1s, window: 2s, idle_hold: 1s}")
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
    try await eventually(within: .seconds(60), "nothing of the pool is left") {
      let units = try await self.activeUnits("ollama-*")
      let processes = try await self.processes(named: "ollama-simulator")
      return units.isEmpty && processes.isEmpty
    }
    _ = try await run("systemctl", ["reset-failed"])
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

  func processes(named name: String) async throws -> [Int32] {
    let list = try await run("pgrep", ["-f", name])
    return list.output.split(separator: "\n").compactMap { Int32($0) }
  }

  func journal(lines: Int = 400, _ matches: String...) async -> String {
    let command = try? await run("journalctl", ["-o", "short-precise", "-n", "\(lines)", "--no-pager"] + matches)
    return command.map { $0.output + $0.errorOutput } ?? ""
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

func systemctl(_ arguments: String...) async throws {
  let command = try await run("systemctl", arguments)
  guard command.end == .exited(0) else {
    throw Failed("systemctl \(arguments.joined(separator: " ")): \(command.output)\(command.errorOutput)")
  }
}
