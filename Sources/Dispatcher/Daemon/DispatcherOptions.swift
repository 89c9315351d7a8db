package import Glibc
package import PoolConfiguration
import PoolCore
package import Systemd

/// How a dispatcher is started.
package struct DispatcherOptions: Sendable {
  package var settings: Settings
  /// Where the control socket is made, unless one named `control` was inherited.
  package var controlSocket: String
  /// What outlives this process is in it, for its user alone; nil: nothing does.
  package var stateFolder: String?
  package var journal: Journal
  /// The program's version, for `status`, introspection and metrics.
  package var version: String
  /// Listening sockets that systemd passed on. Those named `http` win over `listen`, one named `control` over
  /// ``controlSocket``.
  package var inherited: [ListenSocket] = []
  /// Whether a port that is taken gives way to the next free one.
  package var nextFreePort = false
  /// Whether metrics are served, where the settings have an address for them.
  package var servesMetrics = true
  /// Whether systemd is told of this process's state: true for the daemon, false in a process with other duties.
  package var notifiesServiceManager = false
  /// The user of the instances, where that is not the pool's own: it may change nothing over the control socket.
  package var instanceUserID: uid_t?

  package init(settings: Settings, controlSocket: String, journal: Journal, version: String) {
    self.settings = settings
    self.controlSocket = controlSocket
    self.journal = journal
    self.version = version
  }
}
