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
  /// Opens the launcher that the key `launcher` asks for. Only `auto` looks for another way where one is closed.
  package func resolve() async throws(LaunchError) -> ResolvedLauncher {
    switch self {
    case .systemd: ResolvedLauncher(try await SystemdLauncher.connect(to: .system), "as configured")
    case .user: ResolvedLauncher(try await SystemdLauncher.connect(to: .user), "as configured")
    case .child: ResolvedLauncher(ChildLauncher(), "as configured")
    case .auto: await Self.automatic()
    }
  }

  private static func automatic() async -> ResolvedLauncher {
    // As sd_booted(3): the bus of a container may be the host's.
    guard access("/run/systemd/system", F_OK) == 0 else {
      return ResolvedLauncher(ChildLauncher(), "this machine was not booted with systemd")
    }
    let (manager, who): (SystemdLauncher.Manager, String) =
      geteuid() == 0 ? (.system, "the pool runs as root") : (.user, "the pool does not run as root")
    do throws(LaunchError) {
      return ResolvedLauncher(try await SystemdLauncher.connect(to: manager), "\(who), and systemd answers")
    } catch {
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
