package import GPUInventory
package import Launching
package import NIOCore
package import PoolConfiguration
package import Systemd
package import Varlink

/// What a supervisor is started with.
package struct SupervisorOptions: Sendable {
  package var configuration: LoadedConfiguration
  /// Reads the configuration again, for `Reload` and SIGHUP.
  package var readConfiguration: @Sendable () throws(ConfigurationError) -> LoadedConfiguration
  /// GPU numbers, operators' orders and instances' variables are kept in it.
  package var state: StateDirectory
  /// The dispatcher's control socket. It need not be there yet.
  package var dispatcherSocket: String
  /// Where `ollamapool.Supervisor` is served.
  package var controlSocket: VarlinkServer.Endpoint
  package var journal: Journal
  package var version: String
  package var eventLoopGroup: any EventLoopGroup
  /// Whether READY=1, STATUS=, RELOADING=1 and WATCHDOG=1 are this daemon's to send; not so where it shares a process.
  package var notifiesServiceManager: Bool
  /// What it may do with instead of what it asks for.
  package var standIns: StandIns
  /// nil: as configured under `launcher`.
  package var launcher: (any Launcher)?
  package var inventory: InventoryReader
  /// Errors that GPUs report by themselves; nil: nobody listens.
  package var gpuEvents: GPUEventSource?
  /// Finds the model store, as it is now.
  package var findStore: @Sendable (Settings, any Launcher) async throws(LaunchError) -> ModelStore = {
    (settings, launcher) async throws(LaunchError) in try await ModelStore.find(for: settings, by: launcher)
  }
  /// How long a silent dispatcher is waited for; it speaks every 5 s.
  package var dispatcherSilence = Duration.seconds(15)
  /// How long a start, a reload, or a look for missing GPUs waits for the driver.
  package var gpuPatience = Duration.seconds(10)

  package init(
    configuration: LoadedConfiguration,
    readConfiguration: @escaping @Sendable () throws(ConfigurationError) -> LoadedConfiguration,
    state: StateDirectory, dispatcherSocket: String, controlSocket: VarlinkServer.Endpoint, journal: Journal,
    version: String, eventLoopGroup: any EventLoopGroup, notifiesServiceManager: Bool,
    standIns: StandIns = .refused, launcher: (any Launcher)? = nil, inventory: InventoryReader = InventoryReader(),
    gpuEvents: GPUEventSource? = nil
  ) {
    self.configuration = configuration
    self.readConfiguration = readConfiguration
    self.state = state
    self.dispatcherSocket = dispatcherSocket
    self.controlSocket = controlSocket
    self.journal = journal
    self.version = version
    self.eventLoopGroup = eventLoopGroup
    self.notifiesServiceManager = notifiesServiceManager
    self.standIns = standIns
    self.launcher = launcher
    self.inventory = inventory
    self.gpuEvents = gpuEvents
  }

  func store(_ settings: Settings, _ launcher: any Launcher) async -> Result<ModelStore, LaunchError> {
    do throws(LaunchError) { return .success(try await findStore(settings, launcher)) } catch { return .failure(error) }
  }

  /// Whose units are this pool's. What the service manager looks after is what is installed.
  var owner: UnitOwner {
    let folder = dispatcherSocket.lastIndex(of: "/").map { String(dispatcherSocket[...$0]) } ?? "."
    return UnitOwner(
      folder: RealPath.of(folder) ?? folder, isInstalled: notifiesServiceManager, privateFolder: state.path)
  }
}
