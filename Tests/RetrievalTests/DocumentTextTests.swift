import Testing

@testable import Retrieval

@Suite("Documents as text")
struct DocumentTextTests {
  private func read(_ text: String, _ kind: DocumentText.Kind, _ name: String = "a_b.md") throws -> DocumentText {
    try DocumentText(Array(text.utf8), kind, fileName: Array(name.utf8))
  }

  @Test("kinds go by the file's name, in any case")
  func kinds() {
    func kind(_ name: String) -> DocumentText.Kind? { DocumentText.Kind(fileName: Array(name.utf8)) }
    #expect(kind("A.PDF") == .pdf)
    #expect(kind("a.b.Markdown") == .markdown)
    #expect(kind("a.txt") == .plain)
    for name in ["a", "pdf", ".pdf", "a.html", "a.pdf.exe", ""] { #expect(kind(name) == nil, "\(name)") }
    #expect(DocumentText.Kind(fileName: Array("caf".utf8) + [0xE9] + Array(".TXT".utf8)) == .plain)
  }

  @Test("Markdown has its title from the first heading, and its sections have theirs; code is no heading")
  func markdown() throws {
    let document = try read(
      "before\n# The Pump ##\n\nOne.\n\n```\n# no heading\n```\n## Care\nTwo.\n#nor this", .markdown)
    #expect(document.title == "The Pump")
    #expect(document.sections.map(\.place) == [nil, nil, "Care"])
    #expect(document.sections[2].paragraphs == ["Two.\n#nor this"])
    #expect(try read("only text", .markdown).title == "a b")
  }

  @Test("pages of a PDF are places, where it has more than one")
  func pages() throws {
    #expect(try read("One.\u{0c}\u{0c}Three.\u{0c}", .pdf).sections.map(\.place) == ["p. 1", "p. 3"])
    #expect(try read("One.\u{0c}", .pdf, "TK3+ 130bar.pdf").sections.map(\.place) == [nil])
    #expect(try read("One.\u{0c}", .pdf, "TK3+ 130bar.pdf").title == "TK3+ 130bar")
  }

  @Test(
    "encodings",
    arguments: [
      ([0xEF, 0xBB, 0xBF] + Array("perché".utf8), "perché"),
      (Array("perché".utf8), "perché"),
      ([0x70, 0xE8, 0x20, 0x80, 0x99], "pè €™"),
      ([0xFF, 0xFE, 0x65, 0x00, 0xE8, 0x00], "eè"),
      ([0xFE, 0xFF, 0x00, 0x65, 0x00, 0xE8], "eè"),
      (Array("a\r\nb\rc\u{202e}d\u{07}".utf8), "a\nb\ncd"),
    ] as [([UInt8], String)])
  func encodings(_ bytes: [UInt8], _ text: String) throws {
    #expect(try DocumentText(bytes, .plain, fileName: Array("a.txt".utf8)).sections[0].paragraphs == [text])
  }

  @Test("what is binary or a PDF of pictures is refused with a reason")
  func refused() {
    for (bytes, kind, reason) in [
      ([0x7F, 0x45, 0x4C, 0x46, 0, 1], .plain, "is no text, but binary"),
      ([0x0C, 0x0C], .pdf, "has no text: its pages may be pictures, which have to be recognised first"),
    ] as [([UInt8], DocumentText.Kind, String)] {
      #expect(throws: RetrievalError(.unreadable, reason)) { try DocumentText(bytes, kind, fileName: Array("a".utf8)) }
    }
  }

  @Test("an empty text is a document without passages", arguments: ["", " \n\t\n"])
  func empty(_ text: String) throws {
    #expect(try read(text, .plain).passages == [])
    #expect(try read(text, .markdown).passages == [])
  }

  @Test("a file's name in another encoding than UTF-8 becomes a title")
  func foreignName() throws {
    let name = Array("caff".utf8) + [0xE8] + Array("_1.txt".utf8)
    #expect(try DocumentText(Array("x".utf8), .plain, fileName: name).title == "caffè 1")
  }

  @Test("passages are at most 1,200 characters, begin with the end of the one before, and lose nothing")
  func passages() throws {
    let words = (0..<2_000).map { "word\($0)" }
    let paragraphs = stride(from: 0, to: 2_000, by: 40).map { words[$0..<$0 + 40].joined(separator: " ") + "." }
    let document = try read("# T\n\n" + paragraphs.joined(separator: "\n\n"), .markdown)
    let passages = document.passages
    #expect(passages.count > 10)
    #expect(passages.allSatisfy { $0.title == "T" && $0.text.count <= 1_200 && $0.text.count > 300 })
    let found = Set(passages.flatMap { $0.text.split { !$0.isLetter && !$0.isNumber }.map(String.init) })
    #expect(found == Set(words))
    for (earlier, later) in zip(passages, passages.dropFirst()) {
      let first = try #require(later.text.split(whereSeparator: \.isWhitespace).first)
      #expect(earlier.text.contains(first))
    }
  }

  @Test("a text without any space or line is cut all the same, and one section is one passage at least")
  func monsters() throws {
    let long = try read(String(repeating: "è", count: 5_000), .plain).passages
    #expect(long.allSatisfy { $0.text.count <= 1_200 })
    #expect(long.reduce(0) { $0 + $1.text.count } == 5_000)
    // To a reader that is one letter.
    let accents = try read("e" + String(repeating: "\u{301}", count: 100_000), .plain).passages
    #expect(accents.count > 80 && accents.allSatisfy { $0.text.unicodeScalars.count <= 1_200 })
    let short = try read("# T\nOne.\n## Care\nTwo.", .markdown).passages
    #expect(short == [Passage(title: "T", text: "One."), Passage(title: "T – Care", text: "Two.")])
  }
}
