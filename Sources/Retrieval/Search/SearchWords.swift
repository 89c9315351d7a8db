/// The words of a question that are looked for.
///
/// A question is no query: of what FTS5 would understand (quotes, `NEAR`, `AND`, `title:`, `*`, `^`) nothing is left
/// but letters and digits, and each word goes to it by itself, in quotes.
struct SearchWords: Equatable {
  static let most = 32
  /// In scalars; a longer one is cut.
  private static let longest = 64

  let words: [String]

  init(_ question: String) {
    var words: [String] = []
    var word = String.UnicodeScalarView()
    func end() {
      defer { word = .init() }
      let text = String(word).lowercased()
      if !text.isEmpty, words.count < Self.most, !words.contains(text) { words.append(text) }
    }
    for scalar in question.unicodeScalars {
      if Self.isWord(scalar) {
        if word.count < Self.longest { word.append(scalar) }
      } else if words.count < Self.most {
        end()
      } else {
        break
      }
    }
    end()
    self.words = words
  }

  /// As the tokenizer unicode61 has it: letters, digits, and the marks on them.
  private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
      .letterNumber, .otherNumber, .nonspacingMark, .spacingMark:
      true
    default: false
    }
  }

  /// As FTS5 is asked for it.
  static func query(_ word: String) -> String { "\"\(word)\"" }
}
