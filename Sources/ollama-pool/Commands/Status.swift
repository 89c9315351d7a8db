import ArgumentParser

struct Status: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show how the pool is doing.",
    discussion: """
      Queue, scale, model store and instances, from the dispatcher and the supervisor together; and which clients had \
      models loaded anew because of other options, with what ends it. With one of the two down it shows what the other \
      knows, names the missing one, and exits with status 1.

      For programs: `ollama-pool status --json | jq .maxConcurrent`
      """)

  @OptionGroup var control: ControlOptions
  @Flag(help: "Print JSON; with --watch one line each time.") var json = false
  @Flag(help: "Go on showing it, each second, until Ctrl-C.") var watch = false

  func run() async throws {
    guard watch else {
      let status = await StatusReader.read(control.folder)
      guard status.dispatcher.running || status.supervisor.running else {
        throw CommandFailure(status.dispatcher.error ?? "no daemon is running")
      }
      try show(status)
      if let missing = [status.dispatcher, status.supervisor].compactMap(\.error).first {
        throw CommandFailure(missing)
      }
      return
    }
    while true {
      try show(await StatusReader.read(control.folder))
      try await Task.sleep(for: .seconds(1))
    }
  }

  private func show(_ status: PoolStatus) throws(CommandFailure) {
    if json { return try Output.say(json: status, isCompact: watch) }
    let terminal = Terminal.current
    let text = StatusText.render(status, on: terminal, namesMissing: watch)
    Output.say(watch ? (terminal.width == nil ? text + "\n" : Terminal.clearScreen + text) : text)
  }
}
