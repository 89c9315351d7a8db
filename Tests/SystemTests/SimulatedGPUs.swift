import Foundation
import TestSupport

/// GPUs that don't exist, on the dynamic linker's path as a driver's installer leaves its library.
struct SimulatedGPUs {
  static let folder = "/opt/simulated-gpus"
  private static let linkerFile = "/etc/ld.so.conf.d/simulated-gpus.conf"

  /// A pool that finds its GPUs by the driver, with simulated ones.
  /// - Parameters:
  ///   - options: of `ollama-simulator gpus make`.
  ///   - haveNodes: whether they have the device nodes nvidia0 and so on, which the private systemd has four of.
  ///   - before: what is done before the pool starts.
  static func running(
    _ settings: String = "", options: [String] = [], haveNodes: Bool = true, environment: [String: String] = [:],
    before: (SimulatedGPUs) async throws -> Void = { _ in },
    _ body: (InstalledPool, SimulatedGPUs) async throws -> Void
  ) async throws {
    try await InstalledPool().installOnce()
    let gpus = try await SimulatedGPUs(options, haveNodes: haveNodes)
    do {
      try await gpus.install()
      try await before(gpus)
      try await InstalledPool.running(
        settings, gpus: "gpus: auto",
        environment: environment.merging(["OLLAMA_SIMULATOR_GPUS": folder]) { given, _ in given }
      ) { pool in try await body(pool, gpus) }
    } catch {
      try? await gpus.remove()
      throw error
    }
    try await gpus.remove()
  }

  private init(_ options: [String], haveNodes: Bool) async throws {
    try? FileManager.default.removeItem(atPath: Self.folder)
    try await order(["make", Self.folder] + options + (haveNodes ? ["--nodes"] : []))
  }

  /// The driver comes, as far as programs can see.
  func install() async throws {
    try (Self.folder + "\n").write(toFile: Self.linkerFile, atomically: false, encoding: .utf8)
    try await ldconfig()
  }

  func uninstall() async throws {
    try FileManager.default.removeItem(atPath: Self.linkerFile)
    try await ldconfig()
  }

  private func remove() async throws {
    try? await uninstall()
    try FileManager.default.removeItem(atPath: Self.folder)
  }

  private func ldconfig() async throws {
    let command = try await run("ldconfig")
    guard command.end == .exited(0) else { throw Failed("ldconfig: \(command.errorOutput)") }
  }

  // MARK: What happens to them

  /// As `ollama-simulator gpus fault` takes it: "gpu1 xid 79".
  func fault(_ words: String) async throws {
    try await order(["fault", Self.folder] + words.split(separator: " ").map(String.init))
  }

  func clear(_ gpu: String? = nil) async throws { try await order(["clear", Self.folder] + [gpu].compactMap(\.self)) }

  /// Somebody else's program, which has begun to use a GPU.
  func occupy(_ gpu: String, _ memory: String) async throws -> RunningProgram {
    let program = try RunningProgram("/usr/bin/ollama-simulator", ["gpus", "occupy", Self.folder, gpu, memory])
    try await program.line(containing: "holds")
    return program
  }

  /// Changes each line of the state; nil takes it away.
  func edit(_ change: (String) -> String?) throws {
    let path = Self.folder + "/nvml.state"
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
    try lines.compactMap(change).map { $0 + "\n" }.joined().write(toFile: path, atomically: true, encoding: .utf8)
  }

  private func order(_ words: [String]) async throws {
    let command = try await run("/usr/bin/ollama-simulator", ["gpus"] + words)
    guard command.end == .exited(0) else { throw Failed("ollama-simulator gpus \(words): \(command.errorOutput)") }
  }

  static func uuid(_ gpu: Int) -> String { "GPU-00000000-0000-4000-8000-00000000000\(gpu)" }
}

extension InstalledPool {
  /// What `ollama-pool gpus --json` tells.
  struct GPU: Decodable {
    struct Process: Decodable {
      var pid: Int32
      var instance: String?
      var command: String?
    }
    var uuid: String
    var label: String?
    var state: String?
    var reason: String?
    var problem: String?
    var instances: [String]
    var memoryOursBytes: Int?
    var memoryOthersBytes: Int?
    var processes: [Process]?
  }

  /// Waits until all GPUs are as expected, and returns them by label.
  @discardableResult
  func gpus(
    within limit: Duration = .seconds(20), _ expectation: String, _ condition: ([String: GPU]) -> Bool
  ) async throws -> [String: GPU] {
    var last: [String: GPU] = [:]
    do {
      return try await eventualValue(within: limit, every: .milliseconds(50), expectation) {
        let command = try await run("/usr/bin/ollama-pool", ["gpus", "--json"])
        let list = try JSONDecoder().decode([GPU].self, from: Data(command.output.utf8))
        last = Dictionary(list.map { ($0.label ?? $0.uuid, $0) }) { first, _ in first }
        return condition(last) ? last : nil
      }
    } catch {
      throw Failed("\(error); the GPUs last were \(last)")
    }
  }
}
