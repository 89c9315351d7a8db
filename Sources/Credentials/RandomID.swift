/// Names that nobody guesses: 127 random bits, in 22 letters.
package enum RandomID {
  package static func make() -> String {
    var generator = SystemRandomNumberGenerator()
    // The first letter is one of A to f: a command would take a name that begins with "-" for an option.
    let first = UInt8.random(in: 0...0x7F, using: &generator)
    return Base64URL.encode([first] + (0..<15).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
  }

  /// Whether a text looks like one.
  package static func isOne(_ text: String) -> Bool {
    text.utf8.count == 22
      && text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
          true
        default: false
        }
      }
  }
}
