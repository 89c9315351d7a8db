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
  // In Unicode scalars: what a reader takes for one character may be of any number of them.
  /// Of a passage.
  private static let most = 1_200
  /// What the next passage of a section repeats.
  private static let overlap = 150

  /// The document in passages of at most 1,200 Unicode scalars. None spans two sections, and where that can be helped
  /// none ends within a paragraph; each but a section's first begins with the last words of the one before.
  package var passages: [Passage] {
    var passages: [Passage] = []
    for section in sections {
      let title = section.place.map { "\(self.title) – \($0)" } ?? self.title
      var text = Scalars()
      var isNew = false
      func flush() {
        if isNew { passages.append(Passage(title: title, text: String(text))) }
      }
      for piece in section.paragraphs.flatMap(Self.pieces) {
        if !text.isEmpty, text.count + piece.count + 2 > Self.most {
          flush()
          text = Self.tail(of: text, room: Self.most - piece.count - 2)
        }
        if !text.isEmpty { text += "\n\n".unicodeScalars }
        text += piece
        isNew = true
      }
      flush()
    }
    return passages
  }

  private typealias Scalars = String.UnicodeScalarView

  /// A paragraph, or the parts of one that is too long: they end with a sentence, else with a word.
  private static func pieces(_ paragraph: String) -> [Scalars] {
    var rest = Array(paragraph.unicodeScalars)[...]
    var pieces: [Scalars] = []
    while rest.count > most {
      let part = rest.prefix(most)
      let late = part.dropFirst(most / 2)
      let end =
        late.lastIndex { ".!?\n".unicodeScalars.contains($0) } ?? late.lastIndex { $0.properties.isWhitespace }
        ?? part.index(before: part.endIndex)
      pieces.append(Scalars(rest[...end]))
      rest = rest[(end + 1)...].drop { $0.properties.isWhitespace }
    }
    if !rest.isEmpty { pieces.append(Scalars(rest)) }
    return pieces
  }

  /// The last words of a passage.
  private static func tail(of text: Scalars, room: Int) -> Scalars {
    let length = min(overlap, room)
    guard length > 0 else { return Scalars() }
    let tail = text.suffix(length)
    guard tail.count < text.count else { return Scalars(tail) }
    return Scalars(tail.drop { !$0.properties.isWhitespace }.drop { $0.properties.isWhitespace })
  }
}
