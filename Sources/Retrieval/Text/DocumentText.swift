import FoundationEssentials

/// A document as text, in pieces that have places of their own.
package struct DocumentText: Equatable, Sendable {
  package enum Kind: Sendable {
    case plain, markdown, pdf

    /// By a file's name; nil for what isn't read.
    package init?(fileName: String) {
      guard let dot = fileName.lastIndex(of: "."), dot != fileName.startIndex else { return nil }
      switch fileName[fileName.index(after: dot)...].lowercased() {
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

  /// What a title takes, in characters.
  private static let titleLength = 120

  /// - Parameter bytes: of the file; for a PDF what `pdftotext` made of it, pages ending with form feeds.
  package init(_ bytes: [UInt8], _ kind: Kind, fileName: String) throws(RetrievalError) {
    let text = try Self.decode(bytes)
    let name = Self.name(of: fileName)
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
    guard !sections.isEmpty else {
      throw RetrievalError(
        .unreadable,
        kind == .pdf ? "has no text: its pages may be pictures, which have to be recognised first" : "is empty")
    }
  }

  private static func name(of fileName: String) -> String {
    let base = fileName.lastIndex(of: ".").map { fileName[..<$0] } ?? fileName[...]
    return shortened(clean(String(base)).replacing("_", with: " "))
  }

  private static func shortened(_ title: String) -> String {
    title.count <= titleLength ? title : title.prefix(titleLength - 1) + "…"
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
      heading = shortened(
        (words.last?.allSatisfy { $0 == "#" } == true ? words.dropLast() : words[...]).joined(separator: " "))
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

  // MARK: Encodings

  /// UTF-8, UTF-16 with a mark, else Windows-1252, which any other bytes of a text are taken for.
  private static func decode(_ bytes: [UInt8]) throws(RetrievalError) -> String {
    let text: String
    if bytes.starts(with: [0xFF, 0xFE]) {
      text = utf16(bytes) { UInt16($1) << 8 | UInt16($0) }
    } else if bytes.starts(with: [0xFE, 0xFF]) {
      text = utf16(bytes) { UInt16($0) << 8 | UInt16($1) }
    } else {
      guard !bytes.contains(0) else { throw RetrievalError(.unreadable, "is no text, but binary") }
      let content = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes[3...] : bytes[...]
      text =
        String(validating: content, as: UTF8.self)
        ?? String(String.UnicodeScalarView(content.map { windows1252[Int($0)] }))
    }
    return clean(text)
  }

  private static func utf16(_ bytes: [UInt8], _ unit: (UInt8, UInt8) -> UInt16) -> String {
    String(decoding: stride(from: 2, to: bytes.count - 1, by: 2).map { unit(bytes[$0], bytes[$0 + 1]) }, as: UTF16.self)
  }

  private static let windows1252: [Unicode.Scalar] = {
    let special = Array("€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ".unicodeScalars)
    return (0...255).map { (0x80..<0xA0).contains($0) ? special[$0 - 0x80] : Unicode.Scalar(UInt8($0)) }
  }()

  /// With line feeds alone, without control characters, invisible marks and what reverses the order of letters.
  private static func clean(_ text: String) -> String {
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
}
