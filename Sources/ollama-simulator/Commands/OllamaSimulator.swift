import ArgumentParser

@main
struct OllamaSimulator: AsyncParsableCommand {
  static let version = "0.33.0-simulator"

  static let configuration = CommandConfiguration(
    commandName: "ollama-simulator",
    abstract: "A stand-in for `ollama serve` that needs no model and no GPU.",
    discussion: """
      It keeps Ollama's HTTP API (its own, OpenAI's and Anthropic's dialect), its start-up, model loads, slots, errors \
      and signals, and answers with made-up words at a chosen speed: for tests, demonstrations and load tests. \
      It obeys the OLLAMA_* variables that decide these things, and can be told to misbehave.

      See `ollama-simulator serve --help` for speeds and faults, and `ollama-simulator gpus --help` for GPUs that \
      don't exist.
      """,
    version: "ollama version is \(version) (simulator)",
    subcommands: [Serve.self, GPUs.self, Runner.self])
}
