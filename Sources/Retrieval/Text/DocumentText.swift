/// A document as text, in pieces that have places of their own.
package struct DocumentText: Equatable, Sendable {
  package enum Kind: Sendable {
    case plain, markdown, pdf

    /// By a file's name, in whatever encoding; nil for what isn't read.
    package init?(fileName: [UInt8]) {
      guard let dot = fileName.lastIndex(of: UInt8(ascii: ".")), dot > 0 else { return nil }
      switch String(decoding: fileName[(dot + 1)...], as: UTF8.self).lowercased() {
      case "txt", "text": self = .plain
      case "md", "markdown": self = .markdown
      case "pdf": self = .pdf
      default: return nil
      }
    }
  }

  /// The first heading, or the file's name.
  package var title: String
  package var sections: [Section]

  package struct Section: Equatable, Sendable {
    /// A heading, or a page; nil where the document has but one.
    package var place: String?
    package var paragraphs: [String]
  }

  /// What a title takes, in Unicode scalars.
  private static let titleLength = 120

  /// - Parameter bytes: of the file; for a PDF what `pdftotext` made of it, pages ending with form feeds.
  /// - Throws: `unreadable` for what is no text, and for a PDF without any. An empty text has no sections.
  package init(_ bytes: [UInt8], _ kind: Kind, fileName: [UInt8]) throws(RetrievalError) {
    let text = try PlainText.decode(bytes)
    let name = Self.title(ofFile: fileName)
    switch kind {
    case .plain:
      title = name
      sections = [Section(place: nil, paragraphs: Self.paragraphs(text[...]))]
    case .markdown:
      (title, sections) = Self.markdown(text, name)
    case .pdf:
      title = name
      let pages = text.split(separator: "\u{0c}", omittingEmptySubsequences: false).map { Self.paragraphs($0) }
      let isLong = pages.count(where: { !$0.isEmpty }) > 1
      sections = pages.enumerated().map { Section(place: isLong ? "p. \($0 + 1)" : nil, paragraphs: $1) }
    }
    sections.removeAll { $0.paragraphs.isEmpty }
    guard kind != .pdf || !sections.isEmpty else {
      throw RetrievalError(.unreadable, "has no text: its pages may be pictures, which have to be recognised first")
    }
  }

  private static func title(ofFile name: [UInt8]) -> String {
    let base = name.lastIndex(of: UInt8(ascii: ".")).map { name[..<$0] } ?? name[...]
    return PlainText.title(PlainText.decode(unmarked: base), most: titleLength).replacing("_", with: " ")
  }

  // MARK: Markdown

  private static func markdown(_ text: String, _ name: String) -> (String, [Section]) {
    var title: String?
    var sections: [Section] = []
    var heading: String?
    var lines: [Substring] = []
    var fence: Substring?
    func flush() {
      let place = heading == title ? nil : heading
      sections.append(Section(place: place, paragraphs: paragraphs(lines.joined(separator: "\n")[...])))
      lines = []
    }
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      let content = line.drop { $0 == " " }
      if content.hasPrefix("```") || content.hasPrefix("~~~") {
        let mark = content.prefix(3)
        fence = fence == nil ? mark : fence == mark ? nil : fence
      }
      // CommonMark 4.2: up to six signs, then a blank.
      let level = content.prefix { $0 == "#" }
      guard fence == nil, (1...6).contains(level.count), content.dropFirst(level.count).first == " " else {
        lines.append(line)
        continue
      }
      flush()
      let words = content.dropFirst(level.count).split(separator: " ")
      heading = PlainText.title(
        (words.last?.allSatisfy { $0 == "#" } == true ? words.dropLast() : words[...]).joined(separator: " "),
        most: titleLength)
      if title == nil { title = heading }
    }
    flush()
    return (title.flatMap { $0.isEmpty ? nil : $0 } ?? name, sections)
  }

  private static func paragraphs(_ text: Substring) -> [String] {
    var paragraphs: [String] = []
    var lines: [Substring] = []
    let all: [Substring] = text.split(separator: "\n", omittingEmptySubsequences: false)
    for line in all + [""] {
      if !line.allSatisfy(\.isWhitespace) {
        lines.append(line)
      } else if !lines.isEmpty {
        paragraphs.append(lines.joined(separator: "\n"))
        lines = []
      }
    }
    return paragraphs
  }
}
