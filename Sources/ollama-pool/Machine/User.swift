import Glibc

/// A user of this machine.
struct User: Equatable {
  var name: String
  var userID: uid_t
  var groupID: gid_t
  var home: String

  /// The name of the user that this process runs as, or its number.
  static var current: String { name(of: geteuid()) }

  static func name(of userID: uid_t) -> String {
    getpwuid(userID).map { String(cString: $0.pointee.pw_name) } ?? "\(userID)"
  }

  /// nil if there is no such user.
  init?(named name: String) {
    guard let entry = getpwnam(name) else { return nil }
    self.name = name
    userID = entry.pointee.pw_uid
    groupID = entry.pointee.pw_gid
    home = String(cString: entry.pointee.pw_dir)
  }

  /// All its groups, the primary one included.
  var groups: Set<gid_t> {
    var count: Int32 = 256
    var found = [gid_t](repeating: 0, count: Int(count))
    guard getgrouplist(name, groupID, &found, &count) >= 0 else { return [groupID] }
    return Set(found.prefix(Int(count)))
  }

  /// nil if there is no such group.
  static func groupID(named name: String) -> gid_t? { getgrnam(name)?.pointee.gr_gid }
}
