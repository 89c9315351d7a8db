import Foundation
import Glibc
import TestSupport
import Testing

/// `make install` and `make uninstall` on a system that runs, which is a private one.
@Suite(.serialized, .enabled(if: SystemdHost.isAvailable, SystemdHost.remedy), .timeLimit(.minutes(5)))
struct InstallationTests {
  private static let daemons = ["ollama-pool-dispatcher.service", "ollama-pool-supervisor.service"]

  private func succeeds(_ program: String, _ arguments: String...) async throws -> Bool {
    try await run(program, arguments).end == .exited(0)
  }

  private func unitsOfThePool() async throws -> String {
    try await run("systemctl", ["list-units", "--all", "--plain", "--no-legend", "ollama*"]).output
  }

  @Test func `systemd finds nothing wrong with the units, and little exposed`() async throws {
    try await Installing.make("install", "PREFIX=/usr")
    let units = try Repository.files(below: "units", ".service", ".socket", ".target", ".slice").map {
      String($0.dropFirst(6))
    }
    let verify = try await run("systemd-analyze", ["verify"] + units)
    #expect(verify.end == .exited(0) && verify.errorOutput.isEmpty, "\(verify.errorOutput)")
    // In tenths; what the comments in the units state.
    for (unit, most) in [("ollama-pool-dispatcher.service", "12"), ("ollama-pool-supervisor.service", "13")] {
      let security = try await run("systemd-analyze", ["security", "--no-pager", "--threshold=\(most)", unit])
      #expect(security.end == .exited(0), "\(security.output)")
    }
    try await Installing.make("uninstall", "PREFIX=/usr", "PURGE=1")
  }

  @Test func `users, folders and the journal's catalog are there at once`() async throws {
    try await Installing.make("install", "PREFIX=/usr")
    let groups = try await run("id", ["-nG", "ollama-pool-instance"]).output.split(whereSeparator: \.isWhitespace)
    #expect(Set(groups).isSuperset(of: ["render", "video"]))
    let owner = try await run("stat", ["-c", "%U:%G %a", "/etc/ollama-pool/ollama-pool.yaml", "/run/ollama-pool"])
    #expect(owner.output == "root:ollama-pool 640\nroot:root 755\n")
    let catalogs = try Repository.files(below: "units", ".catalog").map(Repository.text).joined()
    let id = try #require(catalogs.firstMatch(of: /-- ([0-9a-f]{32})/)).1
    #expect(try await run("journalctl", ["--list-catalog", String(id)]).output.contains(id))
    try await Installing.make("uninstall", "PREFIX=/usr", "PURGE=1")
    #expect(try await !succeeds("id", "ollama-pool-instance"))
  }

  @Test func `a user that can't be removed keeps nothing else`() async throws {
    try await Installing.make("install", "PREFIX=/usr")
    let busy = try RunningProgram("setpriv", ["--reuid=ollama-pool-instance", "--clear-groups", "sleep", "1000"])
    try await eventually("it runs as the instances' user") {
      try await succeeds("pgrep", "-u", "ollama-pool-instance", "sleep")
    }
    let result = try await run(
      PackageRoot.path(to: "scripts/install.sh"), ["uninstall"], environment: ["PREFIX": "/usr", "PURGE": "1"])
    #expect(result.end == .exited(1))
    #expect(result.errorOutput.contains("All is removed but the users ollama-pool-instance: "), "\(result.errorOutput)")
    #expect(try await !succeeds("id", "ollama-pool"))
    #expect(!FileManager.default.fileExists(atPath: "/run/ollama-pool"))
    #expect(try await unitsOfThePool() == "")
    #expect(try await !succeeds("systemctl", "cat", "ollama-pool.target"))
    busy.signal(SIGKILL)
    _ = try await busy.wait()
    _ = try await run("userdel", ["ollama-pool-instance"])
  }

  @Test func `the pool starts with the shipped configuration, and uninstalling stops it and leaves the state`()
    async throws
  {
    try await Installing.make("install", "PREFIX=/usr")
    // What runs where no ollama is installed: the stand-in, on the CPU.
    try FileManager.default.createSymbolicLink(
      atPath: "/usr/local/bin/ollama", withDestinationPath: "/usr/bin/ollama-simulator")
    defer { try? FileManager.default.removeItem(atPath: "/usr/local/bin/ollama") }
    #expect(try await succeeds("systemctl", "enable", "--now", "ollama-pool.target"))
    try await eventually(within: .seconds(60), "an instance serves") {
      try await HTTPProbe.exchange("GET", "/api/tags", port: 11434).status == 200
    }

    // An instance of a pool beside this one.
    let other = "ollama-instance-other.service"
    let slice = "ollamapool.slice"
    #expect(try await succeeds("systemd-run", "--unit=\(other)", "--slice=\(slice)", "sleep", "1000"))

    try await Installing.make("uninstall", "PREFIX=/usr")
    #expect(
      try await unitsOfThePool().split(separator: "\n").compactMap { $0.split(separator: " ").first } == [
        other[...], slice[...],
      ])
    #expect(try await !succeeds("pgrep", "-x", "ollama-pool|ollama-simulato"))
    #expect(try await succeeds("systemctl", "stop", other, slice))
    #expect(try await unitsOfThePool() == "")
    let left = try await run("find", ["/usr", "/run", "/etc", "/var/lib", "-name", "*ollama-pool*", "-prune"]).output
      .split(separator: "\n").map(String.init).filter { !$0.hasPrefix("/usr/src") }
    #expect(Set(left).isSubset(of: ["/etc/ollama-pool", "/var/lib/ollama-pool", "/var/lib/ollama-pool-instance"]))
    #expect(left.contains("/var/lib/ollama-pool"))
    try await Installing.make("uninstall", "PREFIX=/usr", "PURGE=1")
    for folder in left { #expect(!FileManager.default.fileExists(atPath: folder), "\(folder)") }
  }
}
