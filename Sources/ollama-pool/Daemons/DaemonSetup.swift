import Dispatcher
import Glibc
import Launching
import PoolConfiguration
import Supervisor
import Systemd

/// What the ways of running the daemons have in common.
enum DaemonSetup {
  static func dispatcher(_ settings: Settings, sockets: SocketFolder, stateFolder: String) -> DispatcherOptions {
    var options = DispatcherOptions(
      settings: settings, controlSocket: sockets.dispatcher,
      journal: Journal(identifier: Daemon.dispatcher.journalIdentifier), version: Version.current)
    options.stateFolder = stateFolder
    return options
  }

  /// The user of units of the system manager, in numbers.
  static func instanceUserID(_ settings: Settings) -> uid_t? {
    (try? InstanceAccount.resolve(settings.instanceUser))?.userID
  }
}
