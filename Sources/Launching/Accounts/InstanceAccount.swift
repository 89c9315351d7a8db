package import Glibc

/// The user that the system manager runs instances as.
package struct InstanceAccount: Equatable {
  /// The package's own user, for machines without an installed Ollama.
  static let ownName = "ollama-pool-instance"
  /// Ollama's installer makes it. With it the instances use the models that are there already.
  static let ollamaName = "ollama"
  /// The dispatcher's. It may change things at the control sockets, which an instance must not.
  package static let dispatcherName = "ollama-pool"

  package var name: String
  package var userID: uid_t
  /// HOME, and by default the model store.
  package var home: String
  /// Whether systemd makes ``home``, as the StateDirectory ``ownName`` that all instances share, and with it the
  /// models.
  package var homeIsStateDirectory: Bool
  /// Those of `render` and `video` that exist here: they own the nodes of GPUs.
  package var groups: [String]

  /// - Parameter choice: the key `instance_user`; nil: `ollama` if there is such a user, else `ollama-pool-instance`.
  package static func name(_ choice: String?) -> String {
    choice ?? (User(named: ollamaName) == nil ? ownName : ollamaName)
  }

  /// - Parameter choice: as for ``name(_:)``.
  package static func resolve(_ choice: String?) throws(LaunchError) -> InstanceAccount {
    let name = name(choice)
    guard let user = User(named: name) else {
      let remedy =
        name == ownName
        ? "systemd-sysusers makes it from the file that comes with this package"
        : "create it, or correct the key instance_user"
      throw LaunchError(.unusableUser, "user \(name), which instances run as, does not exist: \(remedy)")
    }
    guard user.userID != 0 else {
      throw LaunchError(
        .unusableUser, "instances never run as root: set the key instance_user to another user than \(name)")
    }
    guard name != dispatcherName, user.userID != User(named: dispatcherName)?.userID else {
      throw LaunchError(
        .unusableUser,
        "instances never run as \(name), whose processes may change the pool: remove the key instance_user, or set it to "
          + "another user")
    }
    // Users of services often have a home in name only.
    let hasHome = name != ownName && user.home.hasPrefix("/") && user.home != "/" && user.home != "/nonexistent"
    return InstanceAccount(
      name: name, userID: user.userID, home: hasHome ? user.home : "/var/lib/\(ownName)",
      homeIsStateDirectory: !hasHome,
      groups: ["render", "video"].filter { User.groupID(named: $0) != nil })
  }
}
