/// A part of a document that is found and shown as a whole.
package struct Passage: Equatable, Sendable {
  /// The document's, and the place in it.
  package var title: String
  package var text: String

  package init(title: String, text: String) {
    self.title = title
    self.text = text
  }
}

extension DocumentText {
  /// Of a passage, in characters.
  private static let most = 1_200
  /// What the next passage of a section repeats, in characters.
  private static let overlap = 150

  /// The document in passages of at most 1,200 characters. None spans two sections, and where that can be helped none
  /// ends within a paragraph; each but a section's first begins with the last words of the one before.
  package var passages: [Passage] {
    var passages: [Passage] = []
    for section in sections {
      let title = section.place.map { "\(self.title) – \($0)" } ?? self.title
      var text = ""
      var isNew = false
      func flush() {
        if isNew { passages.append(Passage(title: title, text: text)) }
      }
      for piece in section.paragraphs.flatMap(Self.pieces) {
        if !text.isEmpty, text.count + piece.count + 2 > Self.most {
          flush()
          text = Self.tail(of: text, room: Self.most - piece.count - 2)
        }
        text += text.isEmpty ? piece : "\n\n" + piece
        isNew = true
      }
      flush()
    }
    return passages
  }

  /// A paragraph, or the parts of one that is too long: they end with a sentence, else with a word.
  private static func pieces(_ paragraph: String) -> [String] {
    var rest = Array(paragraph)[...]
    var pieces: [String] = []
    while rest.count > most {
      let part = rest.prefix(most)
      let late = part.dropFirst(most / 2)
      let end =
        late.indices.last { ".!?\n".contains(late[$0]) } ?? late.lastIndex { $0.isWhitespace }
        ?? part.index(before: part.endIndex)
      pieces.append(String(rest[...end]))
      rest = rest[(end + 1)...].drop { $0.isWhitespace }
    }
    if !rest.isEmpty { pieces.append(String(rest)) }
    return pieces
  }

  /// The last words of a passage.
  private static func tail(of text: String, room: Int) -> String {
    let length = min(overlap, room)
    guard length > 0 else { return "" }
    let tail = text.suffix(length)
    guard tail.count < text.count else { return String(tail) }
    return String(tail.drop { !$0.isWhitespace }.drop { $0.isWhitespace })
  }
}
