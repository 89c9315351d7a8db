import Glibc
import Launching
import PoolConfiguration

/// The users and groups that the installed pool runs with.
enum UserExamination {
  private static let daemonUser = "ollama-pool"

  /// - Parameter instances: whom instances run as; nil where that user can't be used.
  static func run(_ installation: Installation, _ instances: InstancesUser?) -> [Finding] {
    guard installation.isService else {
      let others = instances.flatMap { $0.isOwn ? nil : ", and instances as \($0.user.name)" } ?? ""
      return [.ok("users", "`ollama-pool serve` runs as \(User.current)\(others)")]
    }
    let user = instances.map { [Finding.ok("users", "instances run as \($0.user.name)")] } ?? []
    let group = User.groupID(named: daemonUser)
    let membership = membership(
      isMember: group.map { geteuid() == 0 || User.ownGroups.contains($0) } ?? (geteuid() == 0),
      byAccount: group.map { User(named: User.current)?.groups.contains($0) ?? false } ?? false)
    return [daemon] + user + [membership, device]
  }

  private static var daemon: Finding {
    guard User(named: daemonUser) != nil, User.groupID(named: daemonUser) != nil else {
      return .problem(
        "users", "there is no user and group \(daemonUser), as which the dispatcher runs", remedy: "`systemd-sysusers`")
    }
    return .ok("users", "the dispatcher runs as \(daemonUser)")
  }

  /// - Parameters:
  ///   - isMember: whether this process may use them.
  ///   - byAccount: whether it could if its user had just logged in.
  static func membership(isMember: Bool, byAccount: Bool) -> Finding {
    if isMember { return .ok("rights", "\(User.current) may use the control sockets") }
    return .warning(
      "rights", "\(User.current) may not use the control sockets",
      remedy: byAccount
        ? "log in again: \(User.current) has got the group \(daemonUser) since; or use sudo"
        : "`sudo usermod -aG \(daemonUser) \(User.current)`, then log in again; or use sudo")
  }

  /// The groups that own the nodes of GPUs.
  private static var device: Finding {
    let missing = ["render", "video"].filter { User.groupID(named: $0) == nil }
    if missing.isEmpty { return .ok("groups", "render and video exist, for the nodes of GPUs") }
    return .warning(
      "groups", "there is no group \(missing.joined(separator: " and no group ")): AMD's nodes usually belong to these",
      remedy:
        "harmless without such a GPU; else `groupadd --system \(missing[0])` and a udev rule, or the driver's package")
  }
}
