import Glibc
package import PoolConfiguration
import Systemd

/// A launcher, and why this one.
package struct ResolvedLauncher: Sendable {
  package let launcher: any Launcher
  /// For the log: "launcher: auto, root, and systemd answers".
  package let reason: String
}

extension LauncherChoice {
  /// How long a systemd that does not answer is waited for where nothing may stand in for it: a restart of dbus takes
  /// a second, and at a boot the bus may come late.
  private static let patience = Duration.seconds(10)

  /// Opens the launcher that the key `launcher` asks for. Only `auto` looks for another way where one is closed: on a
  /// machine without systemd, and, if the pool may do with stand-ins, also where its systemd does not answer.
  /// - Parameters:
  ///   - instanceUser: the key `instance_user`.
  ///   - owner: whose units to look after.
  package func resolve(
    _ standIns: StandIns, instanceUser: String? = nil, owner: UnitOwner, patience: Duration = patience
  ) async throws(LaunchError) -> ResolvedLauncher {
    let patience = standIns == .allowed ? .zero : patience
    func systemd(_ manager: SystemdLauncher.Manager) async throws(LaunchError) -> SystemdLauncher {
      try await SystemdLauncher.connect(to: manager, owner: owner, patience: patience)
    }
    switch self {
    case .systemd: return ResolvedLauncher(try await systemd(.system), "as configured")
    case .user: return ResolvedLauncher(try await systemd(.user), "as configured")
    case .child: return ResolvedLauncher(ChildLauncher(), "as configured")
    case .auto: break
    }
    // As sd_booted(3): the bus of a container may be the host's.
    guard access("/run/systemd/system", F_OK) == 0 else {
      return ResolvedLauncher(ChildLauncher(), "this machine was not booted with systemd")
    }
    // Units of the system manager never run as root, and need a user that an installation makes. A root that has
    // installed nothing has a pool all the same.
    if standIns == .allowed, geteuid() == 0, instanceUser == nil {
      do throws(LaunchError) { _ = try InstanceAccount.resolve(nil) } catch {
        return ResolvedLauncher(ChildLauncher(), "the pool runs as root, and units never do: \(error.message)")
      }
    }
    let (manager, who): (SystemdLauncher.Manager, String) =
      geteuid() == 0 ? (.system, "the pool runs as root") : (.user, "the pool does not run as root")
    do throws(LaunchError) {
      return ResolvedLauncher(try await systemd(manager), "\(who), and systemd answers")
    } catch {
      guard standIns == .allowed else {
        throw LaunchError(
          error.code,
          "\(who), and its systemd does not answer (\(error.message)): see `systemctl status dbus`, or set the key "
            + "launcher to what is to start instances")
      }
      return ResolvedLauncher(ChildLauncher(), "\(who), and its systemd does not answer: \(error.message)")
    }
  }
}

extension ResolvedLauncher {
  fileprivate init(_ launcher: any Launcher, _ reason: String) {
    self.launcher = launcher
    self.reason = reason
  }
}
