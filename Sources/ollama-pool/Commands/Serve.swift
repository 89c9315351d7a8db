import ArgumentParser
import Glibc
import PoolConfiguration
import Supervisor

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run the whole pool in this process, until Ctrl-C.",
    discussion: """
      For a laptop, a container, a first try: there is nothing to install. With `ollama` on the PATH it runs that; \
      without, `ollama-simulator`, whose answers are made up. Instances are units of systemd where it answers, else \
      child processes; these too for root where there is no user that units could run as, neither ollama nor \
      ollama-pool-instance. It says where it listens and what to type next; the log goes to standard error.

      Ctrl-C lets running requests end within drain_timeout, a second one cuts them; no process is left behind. SIGHUP \
      reads the configuration again.

      For example, beside an Ollama that holds the usual port: ollama-pool serve --next-free-port
      """)

  @OptionGroup var configuration: ConfigurationOptions
  @OptionGroup var sockets: DaemonSocketOptions
  @OptionGroup var state: StateOptions
  @Flag(help: "Take the next free port where one of the configuration is taken, and say so.")
  var nextFreePort = false

  func run() async throws {
    let signals = await StopSignals()
    let loaded = try configuration.read()
    try Folders.make(state.folder, mode: 0o700)
    // Before anything is opened: of two pools of one user this is what they can't share.
    let state = try await StateDirectory.take(state.folder)
    // Root's sockets are there for the group too; a user's own are nobody else's business.
    try Folders.make(sockets.path, mode: geteuid() == 0 ? 0o755 : 0o700)
    var pool = try await WholePool.start(
      loaded, readAgain: configuration.reader, sockets: sockets.folder, state: state, nextFreePort: nextFreePort)
    Output.say(
      Welcome(
        pool: pool, settings: loaded.settings, isInUsualPlace: sockets.socket == nil, sockets: sockets.path
      ).text)
    await signals.wait { await pool.reload() }
    await pool.stop(signals)
  }
}
