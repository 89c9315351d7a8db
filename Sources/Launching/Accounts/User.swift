package import Glibc

/// A user of this machine, by whatever the machine has configured (files, LDAP, systemd).
package struct User: Equatable, Sendable {
  package var name: String
  package var userID: uid_t
  package var groupID: gid_t
  package var home: String

  /// nil if there is no such user.
  package init?(named name: String) {
    self.init { entry, buffer, size, found in getpwnam_r(name, &entry, buffer, size, &found) }
  }

  /// nil if there is no such user.
  package init?(id: uid_t) {
    self.init { entry, buffer, size, found in getpwuid_r(id, &entry, buffer, size, &found) }
  }

  /// The user that this process runs as, which in a container may be a number without a name or a home.
  package static var own: User {
    User(id: geteuid()) ?? User(name: "\(geteuid())", userID: geteuid(), groupID: getegid(), home: "/")
  }

  init(name: String, userID: uid_t, groupID: gid_t, home: String) {
    self.name = name
    self.userID = userID
    self.groupID = groupID
    self.home = home
  }

  private init?(
    _ lookUp: (inout passwd, UnsafeMutablePointer<CChar>, Int, inout UnsafeMutablePointer<passwd>?) -> Int32
  ) {
    var user: User?
    _ = Self.withBuffer { buffer, size in
      var entry = passwd()
      var found: UnsafeMutablePointer<passwd>?
      let result = lookUp(&entry, buffer, size, &found)
      if result == 0, found != nil { user = User(entry) }
      return result
    }
    guard let user else { return nil }
    self = user
  }

  private init(_ entry: passwd) {
    self.init(
      name: entry.pw_name.map { String(cString: $0) } ?? "", userID: entry.pw_uid, groupID: entry.pw_gid,
      home: entry.pw_dir.map { String(cString: $0) } ?? "")
  }

  /// All its groups, the primary one included.
  package var groups: Set<gid_t> {
    var count: Int32 = 256
    var found = [gid_t](repeating: 0, count: Int(count))
    guard getgrouplist(name, groupID, &found, &count) >= 0 else { return [groupID] }
    return Set(found.prefix(Int(count)))
  }

  /// Those of this process, which need not be those of its user's account: they are as they were at the login, and a
  /// container has what it was started with.
  package static var ownGroups: Set<gid_t> {
    var found = [gid_t](repeating: 0, count: Int(max(0, getgroups(0, nil))))
    let count = getgroups(Int32(found.count), &found)
    return Set(found.prefix(Int(max(0, count)))).union([getegid()])
  }

  /// The name of the user that this process runs as, or its number.
  package static var current: String { name(of: geteuid()) }

  /// The user's name, or its number where it has none.
  package static func name(of id: uid_t) -> String { User(id: id)?.name ?? "\(id)" }

  /// The group's name, or its number where it has none.
  package static func groupName(of id: gid_t) -> String {
    var entry = group()
    var found: UnsafeMutablePointer<group>?
    var name: String?
    _ = withBuffer { buffer, size in
      let result = getgrgid_r(id, &entry, buffer, size, &found)
      if result == 0, found != nil { name = entry.gr_name.map { String(cString: $0) } }
      return result
    }
    return name ?? "\(id)"
  }

  /// nil if there is no such group.
  package static func groupID(named name: String) -> gid_t? {
    var entry = group()
    var found: UnsafeMutablePointer<group>?
    let result = withBuffer { buffer, size in getgrnam_r(name, &entry, buffer, size, &found) }
    return result == 0 && found != nil ? entry.gr_gid : nil
  }

  /// A group may have thousands of members, all of which want a place in the buffer.
  private static func withBuffer(_ call: (UnsafeMutablePointer<CChar>, Int) -> Int32) -> Int32 {
    var size = 4096
    while true {
      let result = withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
        buffer.baseAddress.map { call($0, buffer.count) } ?? ENOMEM
      }
      guard result == ERANGE, size < 1 << 22 else { return result }
      size *= 4
    }
  }
}
