import ArgumentParser
import Dispatcher
import PoolConfiguration
import Systemd

struct DispatcherCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dispatcher",
    abstract: "Run the dispatcher: the endpoint, the queue, the instances' health.",
    discussion: """
      What ollama-pool-dispatcher.service runs. It takes the sockets that systemd passes on, and without them opens \
      those of the configuration. SIGHUP reads the configuration again; SIGTERM lets running requests end within \
      drain_timeout, a second one cuts them.

      For example: ollama-pool dispatcher --config /etc/ollama-pool/ollama-pool.yaml
      """)

  @OptionGroup var configuration: ConfigurationOptions
  @OptionGroup var sockets: DaemonSocketOptions
  @OptionGroup var state: StateOptions

  func run() async throws {
    let inherited = ListenSockets.take()
    let signals = await StopSignals()
    let loaded = try configuration.read()
    try Folders.make(state.folder, mode: 0o700)
    var options = DaemonSetup.dispatcher(loaded.settings, sockets: sockets.folder, stateFolder: state.folder)
    options.inherited = inherited
    options.notifiesServiceManager = true
    options.instanceUserID = DaemonSetup.instanceUserID(loaded.settings)

    let daemon = try await DispatcherDaemon.start(options)
    var settings = loaded.settings
    await signals.wait {
      do throws(ConfigurationError) {
        settings = try configuration.read().settings
        await daemon.reload(settings)
      } catch {
        await daemon.reloadRefused(error)
      }
    }
    let limit = settings.drainTimeout
    await signals.run {
      await daemon.drain(within: limit)
    } hurry: {
      await daemon.drain(within: .zero)
    }
    await daemon.close()
    options.journal.flush()
  }
}
