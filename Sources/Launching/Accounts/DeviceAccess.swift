import Glibc

/// A device node, and whether a user may open it as an instance has to, by its owner, its mode and its list of rights
/// (acl(5)). Rules of a unit (DeviceAllow=) are not looked at.
package struct DeviceAccess: Equatable, Sendable {
  package var path: String
  package var owner: String
  package var group: String
  /// As `ls` shows it: "rw-rw----".
  package var mode: String
  package var isOpen: Bool
  /// Whether it belongs to the superuser's group, which is given to nobody.
  package var isOfRootsGroup: Bool

  /// - Parameter groups: names of those that the user gets besides its own.
  /// - Returns: nil where there is no such node, or it can't be seen.
  package init?(to path: String, of user: User, besides groups: [String] = []) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    let besides = Set(groups.compactMap(User.groupID))
    self.path = path
    owner = User.name(of: status.st_uid)
    group = User.groupName(of: status.st_gid)
    mode = FileRights.letters(status.st_mode)
    isOfRootsGroup = status.st_gid == 0
    isOpen = false
    let needed = isCapability ? 4 : 6
    isOpen = FileRights.rights(of: user, besides: besides, to: path, status) & needed == needed
  }

  package init(
    path: String, owner: String, group: String, mode: String, isOpen: Bool, isOfRootsGroup: Bool = false
  ) {
    self.path = path
    self.owner = owner
    self.group = group
    self.mode = mode
    self.isOpen = isOpen
    self.isOfRootsGroup = isOfRootsGroup
  }

  /// Whether it stands for the right to a MIG slice. These are only read, and their mode is 0444: NVIDIA's MIG user
  /// guide, "Device Nodes and Capabilities".
  package var isCapability: Bool { path.hasPrefix("/dev/nvidia-caps/") }
}
