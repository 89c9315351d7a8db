package import Glibc

/// The user database, through whatever the machine has configured (files, LDAP, systemd).
package enum Passwd {
  package static func user(_ name: String) -> (uid: uid_t, home: String)? {
    lookUp { entry, buffer, size, found in getpwnam_r(name, &entry, buffer, size, &found) }
  }

  static func user(id: uid_t) -> (name: String, home: String)? {
    var name = ""
    let user = lookUp { entry, buffer, size, found in
      let result = getpwuid_r(id, &entry, buffer, size, &found)
      if result == 0, found != nil, let text = entry.pw_name { name = String(cString: text) }
      return result
    }
    return user.map { (name, $0.home) }
  }

  static func groupExists(_ name: String) -> Bool {
    var entry = group()
    var found: UnsafeMutablePointer<group>?
    return withBuffer { buffer, size in getgrnam_r(name, &entry, buffer, size, &found) } == 0 && found != nil
  }

  private static func lookUp(
    _ call: (inout passwd, UnsafeMutablePointer<CChar>, Int, inout UnsafeMutablePointer<passwd>?) -> Int32
  ) -> (uid: uid_t, home: String)? {
    var user: (uid: uid_t, home: String)?
    _ = withBuffer { buffer, size in
      var entry = passwd()
      var found: UnsafeMutablePointer<passwd>?
      let result = call(&entry, buffer, size, &found)
      if result == 0, found != nil {
        user = (entry.pw_uid, entry.pw_dir.map { String(cString: $0) } ?? "")
      }
      return result
    }
    return user
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
