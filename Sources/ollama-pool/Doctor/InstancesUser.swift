import Glibc
import Launching
import PoolConfiguration
import Systemd

/// Whom instances run as on this machine, with these settings.
struct InstancesUser: Equatable {
  var user: User
  /// Groups that their units get besides the user's own.
  var groups: [String] = []
  /// Whether that is the user of the pool, for want of a way to be another one.
  var isOwn: Bool

  /// - Throws: where the user that the configuration names can't be used.
  static func find(_ installation: Installation, _ settings: Settings) throws(LaunchError) -> InstancesUser {
    let isRoot = geteuid() == 0
    let hasAccount = (try? InstanceAccount.resolve(nil)) != nil
    guard
      runsAsAccount(
        settings, isService: installation.isService, mayUseSystemManager: isRoot && ServiceManager.isBooted,
        hasAccount: hasAccount)
    else { return InstancesUser(user: .own, isOwn: true) }
    let account = try InstanceAccount.resolve(settings.instanceUser)
    guard let user = User(named: account.name) else { return InstancesUser(user: .own, isOwn: true) }
    return InstancesUser(user: user, groups: account.groups, isOwn: false)
  }

  /// Units of the system manager have a user of their own; what else starts instances, see the key `launcher`, can't be
  /// another user than the pool's.
  /// - Parameters:
  ///   - mayUseSystemManager: of a pool that is started by hand, whoever looks here.
  ///   - hasAccount: whether there is a user for units that nobody has configured.
  static func runsAsAccount(
    _ settings: Settings, isService: Bool, mayUseSystemManager: Bool, hasAccount: Bool
  ) -> Bool {
    switch settings.launcher {
    case .systemd: true
    case .user, .child: false
    case .auto: isService || mayUseSystemManager && (settings.instanceUser != nil || hasAccount)
    }
  }
}
