import GPUInventory
import Dispatcher
import Glibc
import Launching
import NIOPosix
import PoolConfiguration
import Supervisor
import Systemd
import Varlink

/// Both daemons in one process, which talk over the same control socket as they do apart.
struct WholePool: Sendable {
  let dispatcher: DispatcherDaemon
  private let supervisor: SupervisorDaemon
  /// How instances are started, and why so.
  var launching: String { supervisor.launching }
  private var drainTimeout: Duration
  /// What the instances run; nil where nothing was found, which `status` reports.
  let program: OllamaExecutable?

  static func start(
    _ loaded: LoadedConfiguration,
    readAgain: @escaping @Sendable () throws(ConfigurationError) -> LoadedConfiguration, sockets: SocketFolder,
    state: StateDirectory, nextFreePort: Bool
  ) async throws -> WholePool {
    let settings = loaded.settings
    var options = DaemonSetup.dispatcher(settings, sockets: sockets, stateFolder: state.path)
    options.nextFreePort = nextFreePort
    if geteuid() == 0 { options.instanceUserID = DaemonSetup.instanceUserID(settings) }
    let dispatcher = try await startDispatcher(options)
    do {
      let supervisor = try await SupervisorDaemon.start(
        SupervisorOptions(
          configuration: loaded, readConfiguration: readAgain, state: state,
          dispatcherSocket: sockets.dispatcher, controlSocket: .path(sockets.supervisor),
          journal: Journal(identifier: Daemon.supervisor.journalIdentifier), version: Version.current,
          eventLoopGroup: MultiThreadedEventLoopGroup(numberOfThreads: 1), notifiesServiceManager: false,
          standIns: .allowed, gpuEvents: GPUEventSource()))
      return WholePool(
        dispatcher: dispatcher, supervisor: supervisor, drainTimeout: settings.drainTimeout,
        program: try? OllamaExecutable.find(setting: settings.ollama, .allowed))
    } catch {
      await dispatcher.close()
      throw error
    }
  }

  private static func startDispatcher(_ options: DispatcherOptions) async throws -> DispatcherDaemon {
    do {
      return try await DispatcherDaemon.start(options)
    } catch let error as DispatcherError {
      guard case .cannotListen(_, EADDRINUSE) = error.code, !options.nextFreePort else { throw error }
      throw CommandFailure("\(error.message); `--next-free-port` takes the next one that is free")
    }
  }

  mutating func reload() async {
    // What refuses says so in the log; then nothing changes in the other one either.
    guard let settings = try? await supervisor.reload() else { return }
    drainTimeout = settings.drainTimeout
    await dispatcher.reload(settings)
  }

  /// Lets running requests end, and leaves no process behind.
  func stop(_ signals: StopSignals) async {
    Output.say("Stopping: running requests may end. Ctrl-C again stops at once.")
    await signals.run { [dispatcher, drainTimeout] in
      await dispatcher.drain(within: drainTimeout)
    } hurry: { [dispatcher] in
      await dispatcher.drain(within: .zero)
    }
    await supervisor.stop(instances: .stop)
    await dispatcher.close()
  }
}
