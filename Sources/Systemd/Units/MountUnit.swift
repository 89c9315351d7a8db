/// The names of mount units, which say where they mount: "/srv/my-models" is "srv-my\x2dmodels.mount".
/// Source: systemd.unit(5), "String Escaping for Inclusion in Unit Names".
package enum MountUnit {
  private static let suffix = ".mount"
  private static let plain = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.".utf8)

  package static func name(at path: String) -> String {
    let parts = path.split(separator: "/").map { Array($0.utf8) }
    var name = ""
    for (number, part) in parts.enumerated() {
      if number > 0 { name += "-" }
      for (index, byte) in part.enumerated() {
        let isHidden = byte == UInt8(ascii: ".") && number == 0 && index == 0
        name += plain.contains(byte) && !isHidden ? String(UnicodeScalar(byte)) : escape(byte)
      }
    }
    return (name.isEmpty ? "-" : name) + suffix
  }

  private static func escape(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16)
    return "\\x" + (digits.utf8.count == 1 ? "0" : "") + digits
  }

  /// nil for what is no mount unit's name.
  package static func path(ofUnit name: String) -> String? {
    guard name.hasSuffix(suffix), name.utf8.count > suffix.utf8.count else { return nil }
    var rest = Array(name.utf8.dropLast(suffix.utf8.count))[...]
    if rest == [UInt8(ascii: "-")] { return "/" }
    var path = [UInt8(ascii: "/")]
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "-"): path.append(UInt8(ascii: "/"))
      case UInt8(ascii: "\\"):
        guard rest.first == UInt8(ascii: "x"), rest.count >= 3,
          let escaped = UInt8(String(decoding: rest.dropFirst().prefix(2), as: UTF8.self), radix: 16)
        else { return nil }
        path.append(escaped)
        rest = rest.dropFirst(3)
      default: path.append(byte)
      }
    }
    return String(decoding: path, as: UTF8.self)
  }
}
