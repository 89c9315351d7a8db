/// The targets of `Sources/` in the ranks in which `Package.swift` lists them: `let name: [Target] = […]`.
struct Ranks {
  let rank: [String: Int]

  /// Reads up to the list of the tests.
  init(manifest: String) {
    var rank: [String: Int] = [:]
    var current = -1
    for line in manifest.split(separator: "\n") {
      if line.hasPrefix("let tests: [Target]") { break }
      if line.wholeMatch(of: /let \w+: \[Target\] = \[/) != nil { current += 1 }
      if current >= 0, let target = line.firstMatch(of: /\bname: "([\w-]+)"/),
        line.contains("arget(") || line.contains("Library(") || line.firstMatch(of: /^    name:/) != nil
      {
        rank[String(target.1)] = current
      }
    }
    self.rank = rank
  }

  /// Whether a file of `importer` may import `imported`, if both are of this project.
  func allows(_ importer: String, toImport imported: String) -> Bool {
    guard let upper = rank[importer], let lower = rank[imported] else { return rank[imported] == nil }
    return lower < upper
  }
}
