import Foundation
import Glibc
import TestSupport
import Testing

extension SystemTests {
  /// `ollama-pool serve` as it comes, on a machine with systemd: with `launcher: auto` and no key `ollama`.
  @Suite(.serialized) struct ServeTests {
    /// Somebody's session, with nothing of this process's environment.
    private struct Session {
      /// What a command line begins with.
      var prefix: [String]
      /// Where the control sockets are.
      var sockets: String
      var state: String

      static let root = Session(
        prefix: ["env", "-i", "HOME=/root", "PATH=\(path)"], sockets: "/run/ollama-pool", state: "/var/lib/ollama-pool")

      private static let path = "/usr/local/bin:/usr/bin:/bin"

      /// A user without any right, whose manager runs all the time.
      static func lingering(_ name: String) async throws -> Session {
        let made = try await TestSupport.run("useradd", ["--create-home", "--user-group", name])
        guard made.end == .exited(0) else { throw Failed("useradd: \(made.errorOutput)") }
        let userID = try await TestSupport.run("id", ["-u", name]).output.trimmingCharacters(in: .newlines)
        let folder = "/run/user/\(userID)"
        let lingers = try await TestSupport.run("loginctl", ["enable-linger", name])
        guard lingers.end == .exited(0) else { throw Failed("loginctl: \(lingers.errorOutput)") }
        try await eventually(within: .seconds(30), "the manager of \(name) runs, with its bus") {
          ["systemd/private", "bus"].allSatisfy { FileManager.default.fileExists(atPath: "\(folder)/\($0)") }
        }
        return Session(
          prefix: [
            "setpriv", "--reuid=\(name)", "--regid=\(name)", "--init-groups", "env", "-i", "HOME=/home/\(name)",
            "XDG_RUNTIME_DIR=\(folder)", "PATH=\(path)",
          ], sockets: folder + "/ollama-pool", state: "/home/\(name)/.local/state/ollama-pool")
      }

      func start(_ command: String...) throws -> RunningProgram {
        let words = prefix + command
        return try RunningProgram(words[0], Array(words.dropFirst()))
      }

      func run(_ command: String...) async throws -> (output: String, errorOutput: String, end: ProgramEnd) {
        let words = prefix + command
        return try await TestSupport.run(words[0], Array(words.dropFirst()))
      }

      /// Waits until the pool's status is so, and returns it.
      @discardableResult
      func status(
        _ expectation: String, _ condition: (InstalledPool.Status) -> Bool
      ) async throws -> InstalledPool.Status {
        try await eventualValue(within: .seconds(30), every: .milliseconds(50), expectation) {
          let shown = try await run("ollama-pool", "status", "--json")
          let status = try JSONDecoder().decode(InstalledPool.Status.self, from: Data(shown.output.utf8))
          return condition(status) ? status : nil
        }
      }

      /// All instances that a manager knows, those that failed as well.
      func units(_ manager: String) async throws -> String {
        let list = try await run("systemctl", manager, "list-units", "--all", "--plain", "--no-legend", "ollama-*")
        return list.output + list.errorOutput
      }
    }

    private let configuration: TemporaryDirectory

    init() throws {
      configuration = try TemporaryDirectory()
      try configuration.write("gpus: cpu\n" + InstalledPool.environmentKey(), to: "pool.yaml")
      chmod(configuration.path, 0o755)
    }

    private static let standIn =
      "No `ollama` is installed (https://ollama.com/download), so /usr/bin/ollama-simulator stands in for it"

    /// From the first words to Ctrl-C, with a stream on the way.
    /// - Parameters:
    ///   - manager: the option with which `systemctl` speaks to the manager that runs the instances.
    ///   - look: at the instance while it runs.
    private func run(
      _ session: Session, manager: String, look: (InstalledPool.Status.Instance) async throws -> Void
    ) async throws {
      let pool = InstalledPool()
      try await pool.installOnce()
      try await pool.setFaults("")
      try await withoutOllama {
        let serve = try session.start("ollama-pool", "serve", "--config", configuration.path(to: "pool.yaml"))
        do {
          try await serve.line(containing: "Ctrl-C stops the pool", within: .seconds(30))
          #expect(serve.output.contains("serves at http://127.0.0.1:11434\n"))
          #expect(serve.outputLines.contains { $0.hasPrefix(Self.standIn) }, "\(serve.output)")
          let status = try await session.status("an instance is healthy") { $0.maxConcurrent == 1 }
          #expect(try await session.units(manager).contains("ollama-instance-cpu0.service"))
          try await look(try #require(status.running.first))

          let stream = try await Conversation.begun(tokens: 100)
          serve.signal(SIGINT)
          let answer = try await Conversation.finish(stream)
          #expect(answer.isDone && answer.tokens >= 99, "\(answer)")
          #expect(try await serve.wait(within: .seconds(30)) == .exited(0))
        } catch {
          throw Failed("\(error); serve wrote: \(serve.output)\(serve.errorOutput)")
        }
        try await eventually("no unit and no process is left") {
          guard try await session.units(manager) == "" else { return false }
          return try await pool.processes(named: "ollama-simulator|ollama-pool serve").isEmpty
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: session.sockets) == [])
        await #expect(throws: (any Error).self) { try await HTTPProbe.connect(port: InstalledPool.port) }
      }
    }

    @Test func asRootItsInstancesAreUnitsOfTheSystemManagerAndCtrlCLeavesNothing() async throws {
      try await run(.root, manager: "--system") { instance in
        let unit = try #require(instance.unit)
        #expect(try await InstalledPool().property("User", of: unit) == "ollama-pool-instance")
        #expect(try await InstalledPool().property("Slice", of: unit) == "ollamapool.slice")
        // It has the folders of the installed pool, and is another one all the same.
        try await systemctl("stop", "ollama-pool.target")
        #expect(try await InstalledPool().mainPID(of: unit) == instance.mainPID)
      }
    }

    @Test func asAUserItsInstancesAreUnitsOfTheUsersManagerAndCtrlCLeavesNothing() async throws {
      let name = "pool-tester"
      let session = try await Session.lingering(name)
      try await run(session, manager: "--user") { instance in
        let process = try #require(instance.mainPID)
        let owner = try await TestSupport.run("ps", ["-o", "user:20=", "-p", "\(process)"]).output
        #expect(owner.trimmingCharacters(in: .whitespacesAndNewlines) == name)
        let group = try String(contentsOfFile: "/proc/\(process)/cgroup", encoding: .utf8)
        #expect(
          try Regex("/user@\\d+\\.service/ollamapool\\.slice/ollama-instance-cpu0\\.service\n").firstMatch(in: group)
            != nil,
          "\(group)")
        let mode = try await TestSupport.run("stat", ["-c", "%U %a", session.sockets]).output
        #expect(mode == "\(name) 700\n")
        #expect(FileManager.default.fileExists(atPath: session.state))
      }
      _ = try await TestSupport.run("loginctl", ["disable-linger", name])
      _ = try await TestSupport.run("loginctl", ["terminate-user", name])
      try await eventually(within: .seconds(30), "the user's manager has ended") {
        !FileManager.default.fileExists(atPath: URL(fileURLWithPath: session.sockets).deletingLastPathComponent().path)
      }
      #expect(try await TestSupport.run("userdel", ["--remove", name]).end == .exited(0))
    }

    @Test func anOllamaThatVanishesFromUnderServeIsMissedAndTheSimulatorDoesNotStandInForIt() async throws {
      let pool = InstalledPool()
      try await pool.installOnce()
      let session = Session.root
      try await withoutOllama {
        let ollama = "/usr/local/bin/ollama"
        let script = try configuration.write("#!/bin/sh\nexec ollama-simulator \"$@\"\n", to: "script")
        // By another process: what this one has open for writing can't be executed.
        _ = try await TestSupport.run("install", ["-m", "755", script, ollama])
        let serve = try session.start("ollama-pool", "serve", "--config", configuration.path(to: "pool.yaml"))
        try await serve.line(containing: "Ctrl-C stops the pool", within: .seconds(30))
        #expect(serve.output.contains("Models are run by \(ollama).\n"))
        try await session.status("an instance is healthy") { $0.maxConcurrent == 1 }
        try #require(unlink(ollama) == 0)
        #expect(try await session.run("ollama-pool", "restart", "cpu0").end == .exited(0))
        let failed = try await session.status("its start fails") {
          $0.instance("cpu0")?.reason?.contains("no ollama in /usr/local/bin:/usr/bin:/bin:") == true
        }
        #expect(failed.maxConcurrent == 0)
        serve.signal(SIGINT)
        #expect(try await serve.wait(within: .seconds(30)) == .exited(0))
      }
    }
  }
}
