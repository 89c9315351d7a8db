/// Text of others, as it may be searched, shown and given to a model.
package enum PlainText {
  /// With line feeds alone, without control characters, invisible marks and what reverses the order of letters.
  package static func cleaned(_ text: String) -> String {
    var scalars = String.UnicodeScalarView()
    var wasReturn = false
    for scalar in text.unicodeScalars {
      defer { wasReturn = scalar == "\r" }
      switch scalar {
      case "\n" where wasReturn: break
      case "\r": scalars.append("\n")
      case "\n", "\t", "\u{0c}": scalars.append(scalar)
      default:
        switch scalar.properties.generalCategory {
        case .control, .surrogate, .privateUse, .unassigned: break
        case .format where scalar.value != 0x200D: break
        default: scalars.append(scalar)
        }
      }
    }
    return String(scalars)
  }

  /// The first so many Unicode scalars. A character may be of any number of them, so that only these are a bound.
  package static func prefix(_ text: String, _ most: Int) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.prefix(most)))
  }

  /// On one line.
  ///
  /// - Parameter most: what it takes, in Unicode scalars; a longer one is cut, and ends with `…`.
  package static func title(_ text: String, most: Int) -> String {
    let part = cleaned(prefix(text, most + 1))
    let line: [Unicode.Scalar] = part.unicodeScalars.map { $0.properties.isWhitespace ? " " : $0 }
    return String(String.UnicodeScalarView(line.count > most ? line.prefix(most - 1) + ["…"] : line))
  }

  /// A text file's content, cleaned: UTF-8, UTF-16 with a mark, else Windows-1252, which any other bytes of a text are
  /// taken for.
  static func decode(_ bytes: [UInt8]) throws(RetrievalError) -> String {
    if bytes.starts(with: [0xFF, 0xFE]) { return cleaned(utf16(bytes) { UInt16($1) << 8 | UInt16($0) }) }
    if bytes.starts(with: [0xFE, 0xFF]) { return cleaned(utf16(bytes) { UInt16($0) << 8 | UInt16($1) }) }
    guard !bytes.contains(0) else { throw RetrievalError(.unreadable, "is no text, but binary") }
    return cleaned(decode(unmarked: bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes[3...] : bytes[...]))
  }

  /// UTF-8, else Windows-1252.
  static func decode(unmarked bytes: ArraySlice<UInt8>) -> String {
    String(validating: bytes, as: UTF8.self)
      ?? String(String.UnicodeScalarView(bytes.map { windows1252[Int($0)] }))
  }

  private static func utf16(_ bytes: [UInt8], _ unit: (UInt8, UInt8) -> UInt16) -> String {
    String(decoding: stride(from: 2, to: bytes.count - 1, by: 2).map { unit(bytes[$0], bytes[$0 + 1]) }, as: UTF16.self)
  }

  private static let windows1252: [Unicode.Scalar] = {
    let special = Array("€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ".unicodeScalars)
    return (0...255).map { (0x80..<0xA0).contains($0) ? special[$0 - 0x80] : Unicode.Scalar(UInt8($0)) }
  }()
}
