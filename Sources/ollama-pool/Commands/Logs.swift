import ArgumentParser
import Glibc
import PoolCore
import Systemd

struct Logs: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the pool's journal.",
    discussion: """
      Runs journalctl with the right filters: the entries of both daemons, or all that is about one instance, its own \
      output included. A pool that runs by `ollama-pool serve` in a terminal writes there instead.

      For example: ollama-pool logs --instance gpu2 --follow
      """)

  @Option(help: "Only what is about this instance, with its own output: gpu2.") var instance: String?
  @Flag(name: .shortAndLong, help: "Go on showing what comes, until Ctrl-C.") var follow = false
  @Option(name: [.customShort("n"), .long], help: "Only the last so many entries.") var lines: Int?
  @Flag(name: .customLong("print"), help: "Print the command, and run nothing.") var printsOnly = false

  func validate() throws {
    if let lines, lines < 0 { throw ValidationError("A number of entries is not negative.") }
  }

  func run() throws {
    let command = try Self.command(instance: instance, follow: follow, lines: lines)
    if printsOnly { return Output.say(ShellText.line(command)) }
    if let instance, !follow,
      Execution.output(of: ["journalctl", "--quiet", "--lines=1", command.last ?? ""])?.isEmpty == true
    {
      throw CommandFailure(
        "the journal that this user may read has nothing of an instance \(instance)",
        remedy: "`ollama-pool status` shows those there are; root and the group systemd-journal may read all of it")
    }
    throw CommandFailure.couldNotRun(command[0], errno: Execution.replaceProcess(by: command))
  }

  static func command(instance: String?, follow: Bool, lines: Int?) throws(CommandFailure) -> [String] {
    var command = ["journalctl"]
    if follow { command.append("--follow") }
    if let lines { command.append("--lines=\(lines)") }
    guard let instance else { return command + Daemon.allCases.flatMap { ["-t", $0.journalIdentifier] } }
    guard InstanceID(validating: instance) != nil else {
      throw CommandFailure(
        "\(Printable.text(instance)) can't be the name of an instance: see `ollama-pool status` for those there are")
    }
    return command + ["POOL_INSTANCE=\(instance)"]
  }
}

extension CommandFailure {
  static func couldNotRun(_ program: String, errno code: Int32) -> CommandFailure {
    let remedy = code == ENOENT ? "install it, or see that it is on the PATH" : "see whether this user may run it"
    return CommandFailure("\(program) can't be run (\(describe(errno: code))): \(remedy)")
  }
}
