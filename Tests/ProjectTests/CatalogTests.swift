import Testing

/// The journal's catalogs explain what the programs log, no more and no less.
struct CatalogTests {
  struct Entry {
    var place: String
    var id: String
    var subject: String?
    var body: [Substring]
  }

  private func entries() throws -> [Entry] {
    var entries: [Entry] = []
    for path in try Repository.files(below: "units", ".catalog") {
      var isHeader = false
      for line in try Repository.lines(path) {
        if let id = line.text.wholeMatch(of: /-- ([0-9a-f]{32})/) {
          entries.append(Entry(place: "\(path):\(line.number)", id: String(id.1), body: []))
          isHeader = true
        } else if let last = entries.indices.last {
          if line.text.isEmpty { isHeader = false }
          if isHeader, let subject = line.text.wholeMatch(of: /Subject: (.+)/) {
            entries[last].subject = String(subject.1)
          }
          if !isHeader && !line.text.isEmpty { entries[last].body.append(line.text) }
        }
      }
    }
    return entries
  }

  /// MESSAGE_IDs in the sources: the only strings of 32 hexadecimal digits there.
  private func logged() async throws -> Set<String> {
    let lines = try await Repository.lines(
      of: Repository.files(below: "Sources", ".swift"), matching: #""[0-9a-f]{32}""#)
    return Set(lines.flatMap { $0.text.matches(of: /"([0-9a-f]{32})"/).map { String($0.1) } })
  }

  @Test func `every message that is logged is explained, and every explained one is logged`() async throws {
    let explained = Set(try entries().map(\.id))
    let logged = try await logged()
    #expect(logged.subtracting(explained) == [])
    #expect(explained.subtracting(logged) == [])
    #expect(!logged.isEmpty)
  }

  @Test func `every entry has a subject and a text, and is there once`() throws {
    let entries = try entries()
    for entry in entries {
      #expect(entry.subject?.isEmpty == false, "\(entry.place)")
      #expect(!entry.body.isEmpty, "\(entry.place)")
    }
    #expect(Dictionary(grouping: entries, by: \.id).values.filter { $0.count > 1 }.map { $0.map(\.place) } == [])
  }

  @Test func `a variable in an entry is a field that something sets`() async throws {
    let names = try await Repository.lines(
      of: Repository.files(below: "Sources", ".swift"), matching: #""[A-Z][A-Z0-9_]*""#)
    let set = Set(names.flatMap { $0.text.matches(of: /"([A-Z][A-Z0-9_]*)"/).map { String($0.1) } })
    let ofTheJournal: Set = ["MESSAGE", "PRIORITY", "_PID", "_UID", "UNIT"]
    for path in try Repository.files(below: "units", ".catalog") {
      for line in try Repository.lines(path) where !line.text.hasPrefix("#") {
        let variables = Set(line.text.matches(of: /@([A-Z_][A-Z0-9_]*)@/).map { String($0.1) })
        #expect(variables.subtracting(set).subtracting(ofTheJournal) == [], "\(line)")
      }
    }
  }
}
