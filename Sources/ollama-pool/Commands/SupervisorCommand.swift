import GPUInventory
import ArgumentParser
import NIOPosix
import PoolConfiguration
import Supervisor
import Systemd
import Varlink

struct SupervisorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "supervisor",
    abstract: "Run the supervisor: GPUs, scaling, the instances' life.",
    discussion: """
      What ollama-pool-supervisor.service runs. SIGHUP reads the configuration again; at SIGTERM it ends and leaves the \
      instances alone, and the next one adopts them.

      For example: ollama-pool supervisor --config /etc/ollama-pool/ollama-pool.yaml
      """)

  @OptionGroup var configuration: ConfigurationOptions
  @OptionGroup var sockets: DaemonSocketOptions
  @OptionGroup var state: StateOptions

  func run() async throws {
    let inherited = ListenSockets.take()
    let signals = await StopSignals()
    let loaded = try configuration.read()
    try Folders.make(state.folder, mode: 0o700)
    // The one that it succeeds may be on its way out.
    let state = try await StateDirectory.take(state.folder, patience: .seconds(5))
    let control: VarlinkServer.Endpoint =
      if let socket = inherited.first(where: { $0.name == "control" }) {
        .inherited(descriptor: socket.descriptor)
      } else {
        .path(sockets.folder.supervisor)
      }
    let daemon = try await SupervisorDaemon.start(
      SupervisorOptions(
        configuration: loaded, readConfiguration: configuration.reader, state: state,
        dispatcherSocket: sockets.folder.dispatcher, controlSocket: control,
        journal: Journal(identifier: Daemon.supervisor.journalIdentifier), version: Version.current,
        eventLoopGroup: MultiThreadedEventLoopGroup(numberOfThreads: 1), notifiesServiceManager: true,
        gpuEvents: GPUEventSource()))
    await signals.wait {
      // A refusal is in the journal.
      _ = try? await daemon.reload()
    }
    await daemon.stop(instances: .leave)
  }
}
