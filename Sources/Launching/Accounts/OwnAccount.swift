import Glibc

/// The user of this process, which its child processes and its user manager's units have too.
enum OwnAccount {
  /// HOME for instances.
  /// - Parameter user: the key `instance_user`, which can't name anybody else here.
  static func home(ifNotAskedFor user: String?) throws(LaunchError) -> String {
    let own = User(id: geteuid())
    if let user, user != own?.name {
      throw LaunchError(
        .unusableUser,
        "instance_user is \(user), but only units of the system manager can run as somebody else than the pool: "
          + "remove it, or start the pool as root with launcher: systemd")
    }
    return getenv("HOME").map { String(cString: $0) } ?? own?.home ?? "/"
  }
}
