import ArgumentParser
import Glibc

/// Stands for the `llama-server` that holds a loaded model: it holds memory of simulated GPUs at most, and lives until
/// it is killed. Like that one it is in its server's process group, and survives it when the server is killed.
struct Runner: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "runner", abstract: "Stand for a llama-server that holds a model.", shouldDisplay: false)

  @Option(help: "The model it stands for; for people who look at the process list.") var model: String
  @OptionGroup var held: HeldMemory.Options

  func run() throws {
    // The terminal's Ctrl-C is for the server, which takes its runners along.
    signal(SIGINT, SIG_IGN)
    while true { pause() }
  }
}
