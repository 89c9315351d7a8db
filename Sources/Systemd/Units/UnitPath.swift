import CSystemd
import Glibc

/// The object paths of units, in which D-Bus escapes all but letters and digits: "a-b.service" is
/// ".../a_2db_2eservice".
enum UnitPath {
  private static let prefix = "/org/freedesktop/systemd1/unit"

  static func encode(_ name: String) throws(SystemdError) -> String {
    var encoded: UnsafeMutablePointer<CChar>?
    let result = sd_bus_path_encode(prefix, name, &encoded)
    guard result >= 0, let encoded else { throw SystemdError(errno: result, operation: "the path of unit '\(name)'") }
    defer { free(encoded) }
    return String(cString: encoded)
  }

  /// What the paths of all units begin with whose names begin with `namePrefix`.
  static func encode(prefix namePrefix: String) throws(SystemdError) -> String {
    namePrefix.isEmpty ? prefix + "/" : try encode(namePrefix)
  }

  static func decode(_ path: String) -> String? {
    var name: UnsafeMutablePointer<CChar>?
    guard sd_bus_path_decode(path, prefix, &name) > 0, let name else { return nil }
    defer { free(name) }
    return String(cString: name)
  }
}
