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

  /// What runs where no ollama is installed: the stand-in, on the CPU.
  private func startWithStandIn(_ simulator: String) async throws {
    _ = try await run("ln", ["-sf", simulator, "/usr/local/bin/ollama"])
    #expect(try await succeeds("systemctl", "enable", "--now", "ollama-pool.target"))
    try await eventually(within: .seconds(60), "an instance serves") {
      try await HTTPProbe.exchange("GET", "/api/tags", port: 11434).status == 200
    }
  }

  private static let generation = #"{"model":"llama3.2","prompt":"Why?","options":{"num_predict":300}}"#

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

  @Test func `the pool starts with the shipped configuration, and uninstalling lets a stream end and leaves the state`()
    async throws
  {
    try await Installing.make("install", "PREFIX=/usr")
    try await startWithStandIn("/usr/bin/ollama-simulator")
    // Of five seconds.
    let stream = try await HTTPProbe.connect(port: 11434)
    try await stream.send("POST", "/api/generate", body: Self.generation)
    #expect(try await stream.head().status == 200)
    let asked = ContinuousClock.now

    // An instance of a pool beside this one.
    let other = "ollama-instance-other.service"
    let slice = "ollamapool.slice"
    #expect(try await succeeds("systemd-run", "--unit=\(other)", "--slice=\(slice)", "sleep", "1000"))

    try await Installing.make("uninstall", "PREFIX=/usr")
    var pieces: [HTTPProbe.Piece] = []
    while let piece = try await stream.piece() { pieces.append(piece) }
    let lines = pieces.map(\.text).joined().split(separator: "\n")
    #expect(lines.count == 301 && lines.last?.contains(#""done":true"#) == true, "\(lines.suffix(2))")
    #expect(try #require(pieces.last).receivedAt > asked + .seconds(1), "it was over before the pool was stopped")
    #expect(
      try await unitsOfThePool().split(separator: "\n").compactMap { $0.split(separator: " ").first } == [
        other[...], slice[...],
      ])
    #expect(try await !succeeds("pgrep", "-x", "ollama-pool|ollama-simulato"))
    #expect(try await succeeds("systemctl", "stop", other, slice))
    #expect(try await unitsOfThePool() == "")
    let left = try await run("find", ["/usr", "/run", "/etc", "/var/lib", "-name", "*ollama-pool*", "-prune"]).output
      .split(separator: "\n").map(String.init).filter { !$0.hasPrefix("/usr/src") }
    let state = ["/var/lib/ollama-pool", "/var/lib/ollama-pool-dispatcher"]
    #expect(Set(left).isSubset(of: state + ["/etc/ollama-pool", "/var/lib/ollama-pool-instance"]))
    #expect(Set(state).isSubset(of: left))
    // Root's `serve` has the same folders, while it runs.
    let sockets = "/run/ollama-pool"
    try FileManager.default.createDirectory(atPath: sockets, withIntermediateDirectories: false)
    try "".write(toFile: sockets + "/supervisor.sock", atomically: false, encoding: .utf8)
    let serve = try RunningProgram("flock", ["/var/lib/ollama-pool/lock", "sh", "-c", "echo locked; exec sleep 1000"])
    try await eventually("the state folder is in use") { serve.output == "locked\n" }
    let kept = try await Installing.make("uninstall", "PREFIX=/usr", "PURGE=1")
    #expect(kept.contains("Another pool uses /var/lib/ollama-pool, "))
    for folder in left { #expect(FileManager.default.fileExists(atPath: folder), "\(folder)") }
    #expect(FileManager.default.fileExists(atPath: sockets + "/supervisor.sock"))
    serve.killTree()
    try await serve.wait()
    try FileManager.default.removeItem(atPath: sockets)
    try await Installing.make("uninstall", "PREFIX=/usr", "PURGE=1")
    for folder in left { #expect(!FileManager.default.fileExists(atPath: folder), "\(folder)") }
  }

  @Test func `what make dist packs installs from wherever it is unpacked, below /usr/local, and answers`() async throws
  {
    // The programs of the release build where there is one.
    let packed = try await ReleaseBuild.isUpToDate() ? Installing.make("dist", "PROGRAMS=") : Installing.make("dist")
    let name = try #require(packed.firstMatch(of: /dist\/(\S+)\.tar\.gz/)).1
    let version = try Repository.text("VERSION").trimmingCharacters(in: .newlines)
    let folder = try TemporaryDirectory()
    #expect(try await succeeds("tar", "-C", folder.path, "-xzf", PackageRoot.path(to: "dist/\(name).tar.gz")))
    func script(_ arguments: String..., purge: String? = nil) async throws -> String {
      let result = try await run(
        folder.path(to: "\(name)/install.sh"), arguments,
        environment: Installing.noOuterMake.merging(["PURGE": purge]) { $1 }, workingDirectory: "/")
      #expect(result.end == .exited(0), "\(result.errorOutput)")
      return result.output
    }
    #expect(try await script().contains("Installed ollama-pool \(version) below /usr/local."))
    try await startWithStandIn("/usr/local/bin/ollama-simulator")
    let answer = try await HTTPProbe.exchange(
      "POST", "/api/generate", port: 11434, body: #"{"model":"llama3.2","prompt":"Why?","stream":false}"#)
    #expect(answer.status == 200 && answer.text.contains(#""done":true"#))
    #expect(try await run("/usr/local/bin/ollama-pool", ["--version"]).output.contains(version))

    _ = try await script("uninstall", purge: "1")
    #expect(try await unitsOfThePool() == "")
    #expect(!FileManager.default.fileExists(atPath: "/usr/local/bin/ollama-pool"))
  }

  @Test func `the README's steps open the endpoint to the network, at the default prefix`() async throws {
    try await Installing.make("install")
    try await startWithStandIn("/usr/local/bin/ollama-simulator")
    // An address of this machine that is not loopback's.
    #expect(try await succeeds("ip", "address", "add", "192.0.2.1/32", "dev", "lo"))
    await #expect(throws: (any Error).self) { try await HTTPProbe.connect(host: "192.0.2.1", port: 11434) }

    let readme = try Repository.text("README.md")
    let section = readme[try #require(readme.firstRange(of: "**Beyond this machine.**")).lowerBound...]
    let dropIn = try #require(section.firstMatch(of: /```ini\n([^`]*)```/)).1
    let restart = try #require(section.firstMatch(of: /\n +sudo (systemctl restart [^\n]*)\n/)).1
    let file = "/etc/ollama-pool/ollama-pool.yaml"
    try "allow_open_listener: true\n".write(toFile: file, atomically: false, encoding: .utf8)
    // `systemctl edit` wants a terminal, and this editor is quick.
    let folder = try TemporaryDirectory()
    try folder.write(String(dropIn), to: "wanted")
    let editor = try folder.write("#!/bin/sh\ncat '\(folder.path(to: "wanted"))' >\"$1\"\n", to: "editor")
    let edit = try await run(
      "script", ["-qec", "systemctl edit ollama-pool-dispatcher.socket", "/dev/null"],
      environment: ["SYSTEMD_EDITOR": "sh \(editor)"])
    #expect(edit.end == .exited(0), "\(edit.output)")
    let words = restart.split(separator: " ").map(String.init)
    let restarted = try await run(words[0], Array(words.dropFirst()))
    #expect(restarted.end == .exited(0), "\(restarted.errorOutput)")
    for host in ["192.0.2.1", "127.0.0.1"] {
      try await eventually(within: .seconds(30), "the pool serves at \(host)") {
        let probe = try await HTTPProbe.connect(host: host, port: 11434)
        try await probe.send("GET", "/api/tags")
        return try await probe.head().status == 200
      }
    }
    #expect(try await run("ollama-pool", ["status"]).output.contains("0.0.0.0:11434"))

    #expect(try await succeeds("systemctl", "revert", "ollama-pool-dispatcher.socket"))
    #expect(try await succeeds("ip", "address", "del", "192.0.2.1/32", "dev", "lo"))
    try await Installing.make("uninstall", "PURGE=1")
  }
}
