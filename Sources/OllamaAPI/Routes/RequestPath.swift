/// The path of a request target.
package enum RequestPath {
  /// The percent-decoded path of `target`, without query and fragment; nil when it has none or is badly encoded.
  package static func decoded(_ target: String) -> String? {
    var bytes = Substring(target).utf8
    if bytes.first != slash {
      // RFC 9112, 3.2.2: a server accepts the absolute form.
      guard let scheme = ["http://", "https://"].first(where: { target.lowercased().hasPrefix($0) }) else { return nil }
      bytes = bytes.dropFirst(scheme.utf8.count)
      guard let start = bytes.firstIndex(where: { $0 == slash || $0 == UInt8(ascii: "?") }) else { return "/" }
      bytes = bytes[start...]
      if bytes.first != slash { return "/" }
    }
    if let end = bytes.firstIndex(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }) {
      bytes = bytes[..<end]
    }
    guard bytes.contains(percent) else { return String(Substring(bytes)) }
    return percentDecoded(bytes)
  }

  private static func percentDecoded(_ bytes: Substring.UTF8View) -> String? {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(bytes.count)
    var rest = bytes[...]
    while let byte = rest.popFirst() {
      guard byte == percent else {
        decoded.append(byte)
        continue
      }
      guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else {
        return nil
      }
      decoded.append(high << 4 | low)
    }
    return String(validating: decoded, as: UTF8.self)
  }

  private static let slash = UInt8(ascii: "/")
  private static let percent = UInt8(ascii: "%")
}

/// The value of a hexadecimal digit.
func hexValue(_ byte: UInt8) -> UInt8? {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
  default: nil
  }
}
