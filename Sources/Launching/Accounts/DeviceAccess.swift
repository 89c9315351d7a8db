import Glibc

/// A device node, and whether a user may open it as an instance has to: as the kernel says for this process, and for
/// others by its owner, its mode and its list of rights (acl(5)). Rules of a unit (DeviceAllow=) are not looked at.
package struct DeviceAccess: Equatable, Sendable {
  package var path: String
  package var owner: String
  package var group: String
  /// As `ls` shows it: "rw-rw----".
  package var mode: String
  package var isOpen: Bool
  /// Whether its group is one to give to a user: not the superuser's, and not one that this machine, or this container,
  /// does not know.
  package var isOfGroupToJoin: Bool
  /// Whether it is closed to this process alone: the user has got a group since it logged in.
  package var isOpenAfterLogin = false

  /// What the kernel shows for a group that is not in the container's user namespace: /proc/sys/kernel/overflowgid.
  private static let overflowGroup: gid_t = 65_534

  /// - Parameters:
  ///   - groups: names of those that the user gets besides its own.
  ///   - isOwn: whether instances have this process's user and groups, whatever the user's groups are by its account.
  /// - Returns: nil where there is no such node, or it can't be seen.
  package init?(to path: String, of user: User, besides groups: [String] = [], isOwn: Bool = false) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    let besides = Set(groups.compactMap(User.groupID))
    self.path = path
    owner = User.name(of: status.st_uid)
    group = User.groupName(of: status.st_gid)
    mode = FileRights.letters(status.st_mode)
    isOfGroupToJoin = ![0, Self.overflowGroup].contains(status.st_gid) && User.groupID(named: group) == status.st_gid
    isOpen = false
    let needed = isCapability ? 4 : 6
    let isOpenByAccount = FileRights.rights(of: user, besides: besides, to: path, status) & needed == needed
    let asked = isCapability ? R_OK : R_OK | W_OK
    isOpen = isOwn ? faccessat(AT_FDCWD, path, asked, AT_EACCESS) == 0 : isOpenByAccount
    isOpenAfterLogin = !isOpen && isOpenByAccount
  }

  package init(
    path: String, owner: String, group: String, mode: String, isOpen: Bool, isOfGroupToJoin: Bool = true,
    isOpenAfterLogin: Bool = false
  ) {
    self.path = path
    self.owner = owner
    self.group = group
    self.mode = mode
    self.isOpen = isOpen
    self.isOfGroupToJoin = isOfGroupToJoin
    self.isOpenAfterLogin = isOpenAfterLogin
  }

  /// Whether it stands for the right to a MIG slice. These are only read, and their mode is 0444: NVIDIA's MIG user
  /// guide, "Device Nodes and Capabilities".
  package var isCapability: Bool { path.hasPrefix("/dev/nvidia-caps/") }
}
