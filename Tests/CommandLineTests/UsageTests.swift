import Foundation
import TestSupport
import Testing

/// What needs no daemon.
@Suite struct UsageTests {
  private static let commands = [
    "run", "status", "queue", "queue list", "queue cancel", "queue priority", "keys", "keys add", "keys list",
    "keys revoke", "gpus",
    "explain", "logs", "doctor", "scale", "scale reset",
    "drain", "restart", "cordon", "uncordon", "config", "config check", "config show", "serve", "dispatcher",
    "supervisor",
  ]

  @Test func `the version is that of the file VERSION`() async throws {
    let version = try String(contentsOfFile: PackageRoot.path(to: "VERSION"), encoding: .utf8)
    let result = try await CommandLine.run(["--version"])
    #expect(result.output == "ollama-pool \(version)")
    #expect(result.end == .exited(0))
  }

  @Test(arguments: commands)
  func `every command explains itself and every option, with an example`(command: String) async throws {
    let help = try await CommandLine.run(command.split(separator: " ").map(String.init) + ["--help"])
    #expect(help.end == .exited(0))
    #expect(help.output.contains("OVERVIEW: "))
    let text = try #require(help.output.firstRange(of: "\nUSAGE: ")).lowerBound
    let words = help.output[..<text].split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(words.contains("ollama-pool \(command)"))
    // An option without an explanation has nothing beside it or below it.
    let lines = help.output.split(separator: "\n", omittingEmptySubsequences: false)
    for (line, next) in zip(lines, lines.dropFirst()) where line.hasPrefix("  -") {
      #expect(line.dropFirst(2).contains("  ") || next.hasPrefix("          "), "\(line)")
    }
  }

  @Test(arguments: [
    ["top"], ["simulate"], ["nonsense"], ["status", "--nonsense"], ["queue", "cancel"], ["queue", "priority", "x"],
    ["drain"], ["scale"], ["scale", "--min", "many"], ["scale", "--min=-1"], ["scale", "--fixed", "1", "--min", "1"],
    ["scale", "--min", "1", "--for", "soon"], ["scale", "--min", "1", "--for", "0s"], ["logs", "-n", "few"],
    ["queue", "priority", "1"], ["queue", "priority", "1", "100"], ["queue", "priority", "1", "first"],
    ["keys", "add"], ["keys", "add", "a b"], ["keys", "add", ".a"], ["keys", "add", "a", "--waiting", "0"],
    ["keys", "add", "a", "--requests-per-hour=-1"], ["keys", "add", "a", "--tokens-per-hour", "many"],
    ["keys", "revoke"],
    ["config", "nonsense"], ["run"], ["drain", "gpu0", "--timeout", "-1"],
  ])
  func `wrong usage is status 64`(arguments: [String]) async throws {
    let result = try await CommandLine.run(arguments)
    #expect(result.end == .exited(64))
    #expect(result.output.isEmpty)
    #expect(!result.errorOutput.isEmpty)
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func `completions are there for each shell`(shell: String) async throws {
    let result = try await CommandLine.run(["--generate-completion-script", shell])
    #expect(result.end == .exited(0))
    for name in ["status", "uncordon", "socket"] { #expect(result.output.contains(name), "\(name)") }
  }

  @Test func `run answers with the line that does it`() async throws {
    let folder = try TemporaryDirectory()
    let result = try await CommandLine.run(["run", "llama3.2", "say 'hi'", "--verbose"], socket: folder.path)
    #expect(result.output == "OLLAMA_HOST=127.0.0.1:11434 ollama run llama3.2 'say '\\''hi'\\''' --verbose\n")
    #expect(result.end == .exited(0))
  }

  @Test func `run names the endpoint of the pool that runs`() async throws {
    let status = FakePool.Answer.json(
      """
      {"version":"0.1.0","processID":1,"startedSecondsAgo":1,"endpoints":["http://127.0.0.1:11439"],
       "queue":\(Sample.queue)}
      """)
    try await FakePool.run(dispatcher: ["GetStatus": status]) { pool in
      let output = try await pool.run("run", "llama3.2").output
      #expect(output == "OLLAMA_HOST=127.0.0.1:11439 ollama run llama3.2\n")
    }
  }

  @Test(arguments: [
    ([], "journalctl -t ollama-pool-dispatcher -t ollama-pool-supervisor"),
    (["--instance", "gpu2", "-f", "-n", "20"], "journalctl --follow --lines=20 POOL_INSTANCE=gpu2"),
  ])
  func `logs asks journalctl for the right entries`(arguments: [String], command: String) async throws {
    let result = try await CommandLine.run(["logs", "--print"] + arguments)
    #expect(result.output == command + "\n")
  }

  @Test func `logs becomes journalctl`() async throws {
    let folder = try TemporaryDirectory()
    try folder.write("#!/bin/sh\necho \"asked: $*\"; exit 3\n", to: "journalctl", permissions: 0o755)
    let result = try await CommandLine.run(["logs", "-n", "5"], environment: ["PATH": folder.path + ":/usr/bin:/bin"])
    #expect(result.output == "asked: --lines=5 -t ollama-pool-dispatcher -t ollama-pool-supervisor\n")
    #expect(result.end == .exited(3))
  }

  @Test func `an instance of which the journal has nothing is told`() async throws {
    let folder = try TemporaryDirectory()
    try folder.write(
      "#!/bin/sh\ncase $* in *POOL_INSTANCE=gpu2) echo \"asked: $*\" ;; esac\n", to: "journalctl", permissions: 0o755)
    let environment = ["PATH": folder.path + ":/usr/bin:/bin"]
    let known = try await CommandLine.run(["logs", "--instance", "gpu2"], environment: environment)
    #expect(known.output == "asked: POOL_INSTANCE=gpu2\n")
    let unknown = try await CommandLine.run(["logs", "--instance", "gpu9"], environment: environment)
    #expect(unknown.end == .exited(1) && unknown.output.isEmpty)
    #expect(
      unknown.complaint.hasPrefix("ollama-pool: the journal that this user may read has nothing of an instance gpu9: "))
  }

  @Test func `logs says what is missing without journalctl, and what can't be an instance`() async throws {
    let folder = try TemporaryDirectory()
    let without = try await CommandLine.run(["logs"], environment: ["PATH": folder.path])
    #expect(without.end == .exited(1))
    #expect(without.complaint.hasPrefix("ollama-pool: journalctl can't be run (No such file or directory)"))
    let wrong = try await CommandLine.run(["logs", "--instance", "a b"])
    #expect(wrong.end == .exited(1))
    #expect(wrong.complaint.contains("a b can't be the name of an instance"))
  }

  @Test func `help into a reader that has gone ends quietly`() async throws {
    let (_, errorOutput, _) = try await run(
      "bash", ["-c", "\(CommandLine.program) config show | head -n 1 > /dev/null"])
    #expect(errorOutput.isEmpty)
  }
}
