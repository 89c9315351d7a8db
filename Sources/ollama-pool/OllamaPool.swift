import ArgumentParser

struct OllamaPool: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ollama-pool",
    abstract: "One Ollama endpoint for many users, served by one `ollama serve` per GPU.",
    discussion: """
      Try it here, without installing anything:
        ollama-pool serve
      Watch a pool that runs:
        ollama-pool status --watch
      Find out why something does not work:
        ollama-pool doctor

      Exit status: 0; 1 with one line on standard error that says what failed and what to do; 64 for wrong usage; 78 \
      for a wrong configuration, with file, line and column.
      """,
    version: "ollama-pool \(Version.current)",
    groupedSubcommands: [
      CommandGroup(
        name: "Running a pool:", subcommands: [Serve.self, DispatcherCommand.self, SupervisorCommand.self, Run.self]),
      CommandGroup(
        name: "Watching it:",
        subcommands: [Status.self, Queue.self, GPUs.self, Explain.self, Logs.self, Doctor.self]),
      CommandGroup(
        name: "Changing it:",
        subcommands: [Scale.self, Drain.self, Restart.self, Cordon.self, Uncordon.self, Index.self, Config.self]),
      CommandGroup(name: "Planning it:", subcommands: [Simulate.self]),
      CommandGroup(name: "Who may use it:", subcommands: [Keys.self]),
      CommandGroup(name: "For the units:", subcommands: [Preflight.self]),
    ])
}
