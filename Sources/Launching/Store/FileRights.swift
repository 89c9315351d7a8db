import CLinux
import Glibc

/// A file's mode, and its list of rights (acl(5)) where it has one: what they let a user do.
enum FileRights {
  /// 4 to read, 2 to write, 1 to go through, added up.
  /// - Parameter besides: groups that the user gets besides its own.
  static func rights(of user: User, besides: Set<gid_t> = [], to path: String, _ status: stat) -> Int {
    if user.userID == 0 { return 7 }
    let mode = Int(status.st_mode)
    if user.userID == status.st_uid { return mode >> 6 & 7 }
    let groups = user.groups.union([user.groupID]).union(besides)
    if let list = list(of: path) { return list.rights(user.userID, groups, owningGroup: status.st_gid) }
    return (groups.contains(status.st_gid) ? mode >> 3 : mode) & 7
  }

  /// "owned by ollama, rwxr-xr-x"
  static func description(owner: uid_t, mode: mode_t) -> String {
    "owned by \(User.name(of: owner)), " + letters(mode)
  }

  /// "rwxr-xr-x"
  static func letters(_ mode: mode_t) -> String {
    let letters = Array("rwxrwxrwx")
    return String((0..<9).map { mode & (0o400 >> mode_t($0)) != 0 ? letters[$0] : "-" })
  }

  /// The same of a file; nil where it can't be seen.
  static func description(of path: String) -> String? {
    var status = stat()
    return stat(path, &status) == 0 ? description(owner: status.st_uid, mode: status.st_mode) : nil
  }

  private static func list(of path: String) -> AccessList? {
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = clinux_getxattr(path, "system.posix_acl_access", &bytes, UInt(bytes.count))
    return count > 0 ? AccessList(bytes.prefix(count)) : nil
  }
}

/// As the kernel gives a list out: a version, then tag, rights and id of each entry, in little endian.
struct AccessList: Equatable {
  private enum Tag {
    static let user = 2
    static let owningGroup = 4
    static let group = 8
    static let mask = 16
    static let others = 32
  }

  struct Entry: Equatable {
    var tag: Int
    var rights: Int
    var id: UInt32
  }

  var entries: [Entry]

  /// nil for what is no such list.
  init?(_ bytes: some Collection<UInt8>) {
    let bytes = Array(bytes)
    guard bytes.count >= 4, bytes.count % 8 == 4, bytes[0] == 2 else { return nil }
    entries = stride(from: 4, to: bytes.count, by: 8).map { start in
      func number(_ offset: Int, _ count: Int) -> UInt32 {
        (0..<count).reduce(0) { $0 | UInt32(bytes[start + offset + $1]) << UInt32(8 * $1) }
      }
      return Entry(tag: Int(number(0, 2)), rights: Int(number(2, 2)), id: number(4, 4))
    }
  }

  /// For a user that does not own the file.
  func rights(_ user: uid_t, _ groups: Set<gid_t>, owningGroup: gid_t) -> Int {
    let mask = entries.first { $0.tag == Tag.mask }?.rights ?? 7
    if let own = entries.first(where: { $0.tag == Tag.user && $0.id == user }) { return own.rights & mask & 7 }
    let matching = entries.filter {
      $0.tag == Tag.owningGroup && groups.contains(owningGroup) || $0.tag == Tag.group && groups.contains($0.id)
    }
    // One entry has to have all that is asked for; the best of them is close enough to that.
    if let best = matching.map(\.rights).max() { return best & mask & 7 }
    return (entries.first { $0.tag == Tag.others }?.rights ?? 0) & 7
  }
}
