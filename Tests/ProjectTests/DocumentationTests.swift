import Foundation
import TestSupport
import Testing

@testable import PoolConfiguration

/// What the documentation says is so.
struct DocumentationTests {
  /// A page's blocks between ```` ```language ```` and ```` ``` ````.
  private func blocks(_ language: String, of page: String) throws -> [String] {
    try Repository.text(page).components(separatedBy: "```\(language)\n").dropFirst()
      .map { $0.components(separatedBy: "```")[0] }
  }

  @Test(arguments: ["README.md", "docs/users.md"])
  func `the configurations in the pages are accepted`(page: String) throws {
    let examples = try blocks("yaml", of: page)
    #expect(examples.count >= 3)
    for example in examples {
      #expect(throws: Never.self, "\(example)") { try ConfigurationReader.read(text: example, name: page) }
    }
  }

  @Test func `keys that the README names are known`() throws {
    let table = try Repository.lines("README.md").map(\.text).filter { $0.hasPrefix("| `OLLAMA_") }
    let named = table.flatMap { row in
      row.split(separator: "|").last.map { $0.matches(of: /`([a-z_.]+)`/).map { String($0.1) } } ?? []
    }
    #expect(named.count >= 6)
    #expect(Set(named).subtracting(SettingsKeys.all.paths) == [])
  }

  @Test func `files that the pages link to are there`() throws {
    for page in [
      "README.md", "docs/handbook.md", "docs/performance.md", "docs/scaling.md", "docs/sources.md", "docs/users.md",
      "docs/flask/README.md", "Benchmarks/README.md",
    ] {
      let folder = page.split(separator: "/").dropLast().map { $0 + "/" }.joined()
      for link in try Repository.text(page).matches(of: /\]\(([^):#]+)\)/) {
        #expect(FileManager.default.fileExists(atPath: PackageRoot.path(to: folder + link.1)), "\(page): \(link.1)")
      }
    }
  }

  @Test func `the handbook lists every metric and every field of the journal`() throws {
    let handbook = try Repository.text("docs/handbook.md")
    let sources = try Repository.files(below: "Sources", ".swift").map(Repository.text)
    let metrics = Set(sources.flatMap { $0.matches(of: /"ollama_pool_([a-z_]+)"/).map { String($0.1) } })
    #expect(metrics.count >= 15)
    for metric in metrics { #expect(handbook.contains("`\(metric)"), "\(metric)") }
    let fields = Set(sources.flatMap { $0.matches(of: #/\("(POOL_[A-Z]+)", /#).map { String($0.1) } })
    #expect(fields.count >= 4)
    for field in fields { #expect(handbook.contains("`\(field)`"), "\(field)") }
  }

  @Test func `the handbook shows every target in its rank`() throws {
    let picture = try #require(try Repository.text("docs/handbook.md").components(separatedBy: "## Layers").last)
      .components(separatedBy: "```")[1]
    let rows = picture.split(separator: "\n").filter { !$0.contains("───") }.map { line in
      Set(line.split(separator: " ").dropFirst().map(String.init))
    }
    let rank = Ranks(manifest: try Repository.text("Package.swift")).rank
    let ranks = Dictionary(grouping: rank.keys, by: { rank[$0] ?? 0 }).sorted { $0.key > $1.key }.map { Set($0.value) }
    #expect(rows == ranks)
  }
}
