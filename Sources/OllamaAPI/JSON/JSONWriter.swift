/// Writes JSON text piece by piece.
package struct JSONWriter: Sendable {
  package private(set) var bytes: [UInt8] = []

  /// - Parameter capacity: about as many bytes as will be written.
  package init(capacity: Int = 0) { if capacity > 0 { bytes.reserveCapacity(capacity) } }

  /// Appends JSON text as it stands.
  package mutating func raw(_ text: StaticString) {
    text.withUTF8Buffer { bytes.append(contentsOf: $0) }
  }

  /// Appends JSON text as it stands.
  package mutating func raw(_ text: ArraySlice<UInt8>) { bytes += text }

  /// Appends JSON text as it stands.
  package mutating func text(_ text: String) { bytes.append(contentsOf: text.utf8) }

  package mutating func number(_ value: Int) {
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    var rest = value.magnitude
    // As many digits as UInt.max has.
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      var first = digits.endIndex
      repeat {
        first -= 1
        digits[first] = UInt8(ascii: "0") + UInt8(rest % 10)
        rest /= 10
      } while rest > 0
      bytes.append(contentsOf: digits[first...])
    }
  }

  /// Appends `value` as a JSON string, or `null`.
  package mutating func string(_ value: String?) {
    guard var value else { return raw("null") }
    bytes.append(UInt8(ascii: "\""))
    value.withUTF8 { text in
      // Nearly all of a text, and often all of it, stands as it is.
      var rest = text[...]
      while let special = rest.firstIndex(where: Self.isSpecial) {
        bytes.append(contentsOf: rest[..<special])
        escape(rest[special])
        rest = rest[(special + 1)...]
      }
      bytes.append(contentsOf: rest)
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func isSpecial(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }

  private mutating func escape(_ byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""): raw("\\\"")
    case UInt8(ascii: "\\"): raw("\\\\")
    case UInt8(ascii: "\n"): raw("\\n")
    case UInt8(ascii: "\r"): raw("\\r")
    case UInt8(ascii: "\t"): raw("\\t")
    default:
      raw("\\u00")
      bytes.append(Self.hexDigits[Int(byte >> 4)])
      bytes.append(Self.hexDigits[Int(byte & 15)])
    }
  }

  private static let hexDigits = Array("0123456789abcdef".utf8)
}
