import Foundation
import Glibc
import PoolCore
import TestSupport
import Testing

@testable import Launching

/// Units in a real systemd, as the system manager runs them. They share it, so one test at a time.
@Suite(.serialized, .enabled(if: SystemdHost.isAvailable, SystemdHost.remedy), .timeLimit(.minutes(2)))
struct SystemdLauncherTests {
  static let waits = "while :; do sleep 1; done"

  init() async throws {
    try await succeed(
      "systemd-sysusers", ["--inline", "g render - -", "u ollama-pool-instance - \"instances of tests\""])
  }

  func withLauncher(
    _ body: (SystemdLauncher, Witness) async throws -> Void
  ) async throws {
    try await succeed("install", ["-d", "-m", "755", owner.folder, owner.privateFolder])
    let launcher = try await SystemdLauncher.connect(to: .system, owner: owner)
    let witness = await Witness(launcher)
    let outcome: Result<Void, any Error>
    do {
      outcome = .success(try await body(launcher, witness))
    } catch {
      outcome = .failure(error)
    }
    await launcher.close()
    _ = try await run("systemctl", ["kill", "--signal=KILL", InstanceUnit.pattern])
    _ = try await run("systemctl", ["stop", InstanceUnit.pattern])
    _ = try await run("systemctl", ["reset-failed", InstanceUnit.pattern])
    try outcome.get()
  }

  @discardableResult
  func succeed(_ program: String, _ arguments: [String]) async throws -> String {
    let result = try await run(program, arguments)
    try #require(result.end == .exited(0), "\(program) \(arguments): \(result.errorOutput)")
    return result.output
  }

  func shown(_ unit: String, _ properties: String, of manager: String = "--system") async throws -> Set<String> {
    Set(
      try await succeed("systemctl", [manager, "show", unit, "-p", properties]).split(separator: "\n").map(String.init))
  }

  func journal(_ matches: String...) async throws -> String {
    try await run("journalctl", ["-o", "cat", "--no-pager"] + matches).output
  }

  func unitsInMemory() async throws -> String {
    try await succeed("systemctl", ["list-units", "--all", "--plain", "--no-legend", InstanceUnit.pattern])
  }

}
