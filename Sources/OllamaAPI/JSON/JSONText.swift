/// Reading small pieces of JSON text that a scanner has found.
enum JSONText {
  /// The string between two quotes, unescaped; what is no UTF-8 or no scalar becomes U+FFFD, as in Go.
  static func unescaped(_ escaped: Slice<UnsafeRawBufferPointer>) -> String {
    guard escaped.contains(UInt8(ascii: "\\")) else { return String(decoding: escaped, as: UTF8.self) }
    var result: [UInt8] = []
    result.reserveCapacity(escaped.count)
    var rest = escaped
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        result.append(byte)
        continue
      }
      switch rest.popFirst() {
      case UInt8(ascii: "n"): result.append(UInt8(ascii: "\n"))
      case UInt8(ascii: "r"): result.append(UInt8(ascii: "\r"))
      case UInt8(ascii: "t"): result.append(UInt8(ascii: "\t"))
      case UInt8(ascii: "b"): result.append(0x08)
      case UInt8(ascii: "f"): result.append(0x0C)
      case UInt8(ascii: "u"): result.append(contentsOf: UTF8.encode(unicodeEscape(&rest)) ?? replacement)
      case let other?: result.append(other)
      case nil: break
      }
    }
    return String(decoding: result, as: UTF8.self)
  }

  private static let replacement = UTF8.encodedReplacementCharacter

  /// The scalar of an escape whose `\u` has been consumed, with its second half where it is a surrogate.
  private static func unicodeEscape(_ rest: inout Slice<UnsafeRawBufferPointer>) -> Unicode.Scalar {
    let unknown: Unicode.Scalar = "\u{FFFD}"
    guard let first = codeUnit(&rest) else { return unknown }
    guard UTF16.isLeadSurrogate(first) else { return Unicode.Scalar(first) ?? unknown }
    var ahead = rest
    guard ahead.popFirst() == UInt8(ascii: "\\"), ahead.popFirst() == UInt8(ascii: "u"),
      let second = codeUnit(&ahead), UTF16.isTrailSurrogate(second)
    else { return unknown }
    rest = ahead
    return Unicode.Scalar(0x10000 + (UInt32(first) - 0xD800) << 10 + (UInt32(second) - 0xDC00)) ?? unknown
  }

  private static func codeUnit(_ rest: inout Slice<UnsafeRawBufferPointer>) -> UInt16? {
    guard rest.count >= 4 else { return nil }
    var unit: UInt16 = 0
    for digit in rest.prefix(4) {
      guard let value = hexValue(digit) else { return nil }
      unit = unit << 4 | UInt16(value)
    }
    rest = rest.dropFirst(4)
    return unit
  }

  /// Whether an object's key names the field `name` (lower-case letters), as Go's `encoding/json` matches: case is
  /// ignored, and U+017F and U+212A are an s and a k.
  static func key(_ escaped: Slice<UnsafeRawBufferPointer>, names name: StaticString) -> Bool {
    name.withUTF8Buffer { wanted in
      if escaped.count == wanted.count { return zip(escaped, wanted).allSatisfy { $0 | 0x20 == $1 } }
      // Only escapes and what is no ASCII can make it longer; most keys are neither, and need no string.
      guard escaped.count > wanted.count, escaped.count <= 6 * wanted.count,
        escaped.contains(where: { $0 == UInt8(ascii: "\\") || $0 >= 0x80 })
      else { return false }
      let folded = unescaped(escaped).unicodeScalars.map { scalar -> UInt8 in
        switch scalar {
        case "\u{17F}": UInt8(ascii: "s")
        case "\u{212A}": UInt8(ascii: "k")
        case "A"..."Z": UInt8(truncatingIfNeeded: scalar.value) | 0x20
        case "\0"..."\u{7F}": UInt8(truncatingIfNeeded: scalar.value)
        default: 0xFF
        }
      }
      return folded.elementsEqual(wanted)
    }
  }

  /// Whether an object's key is `name`, as Go finds it in a map: to the letter.
  static func key(_ escaped: Slice<UnsafeRawBufferPointer>, is name: StaticString) -> Bool {
    name.withUTF8Buffer { wanted in
      if escaped.count == wanted.count { return escaped.elementsEqual(wanted) }
      // Only escapes can make it longer.
      guard escaped.count > wanted.count, escaped.count <= 6 * wanted.count, escaped.contains(UInt8(ascii: "\\")) else {
        return false
      }
      return unescaped(escaped).utf8.elementsEqual(wanted)
    }
  }

  /// A number of more bytes is taken for a very large one.
  private static let longestNumber = 1024

  /// A JSON number as Go makes an integer of it: without its fraction, and within the bounds of one; nil for what is no
  /// number.
  static func integer(_ text: Slice<UnsafeRawBufferPointer>) -> Int? {
    guard let first = text.first, first == UInt8(ascii: "-") || isDigit(first), text.last.map(isDigit) == true,
      text.allSatisfy({ isDigit($0) || "+-.eE".utf8.contains($0) })
    else { return nil }
    guard text.count <= longestNumber else { return first == UInt8(ascii: "-") ? Int.min : Int.max }
    guard let value = Double(String(decoding: text, as: UTF8.self)) else { return nil }
    // What no Double is close to any more.
    if value >= 0x1p62 { return Int.max }
    return value <= -0x1p62 ? Int.min : Int(value)
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
