import Testing

/// Who may import what: the layers of docs/handbook.md.
struct ImportTests {
  /// The module that an import declaration names, or nil for any other line.
  static func importedModule(_ line: Substring) -> String? {
    let declaration =
      /\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:package|private|fileprivate|internal|public)\s+)?import\s+(?:(?:struct|enum|class|protocol|func|var|let|typealias)\s+)?(\w+).*/
    return line.wholeMatch(of: declaration).map { String($0.1) }
  }

  /// Each import below Sources, with the target that has it.
  private func imports() async throws -> [(target: String, module: String, place: String)] {
    let lines = try await Repository.lines(of: Repository.files(below: "Sources", ".swift"), matching: #"\bimport "#)
    return lines.compactMap { line in
      Self.importedModule(line.text).map { (String(line.path.split(separator: "/")[1]), $0, "\(line)") }
    }
  }

  @Test func `import declarations are read in all their forms`() {
    #expect(Self.importedModule("import Glibc") == "Glibc")
    #expect(Self.importedModule("@testable import Varlink // why") == "Varlink")
    #expect(Self.importedModule("package import struct NIOCore.ByteBuffer") == "NIOCore")
    #expect(Self.importedModule("@preconcurrency @_spi(X) internal import A") == "A")
    #expect(Self.importedModule("// import Glibc") == nil)
    #expect(Self.importedModule("  important(x)") == nil)
  }

  @Test func `the manifest's ranks are read`() throws {
    let ranks = Ranks(
      manifest: """
        func helper() -> Target { .target(name: "Stray") }
        let lower: [Target] = [
          .target(name: "A", dependencies: []),
        ]
        let upper: [Target] = [
          .executableTarget(
            name: "b-c",
            dependencies: ["A"]),
          .systemLibrary(name: "D"),
        ]
        let tests: [Target] = [
          .testTarget(name: "ATests")
        ]
        """)
    #expect(ranks.rank == ["A": 0, "b-c": 1, "D": 1])
    #expect(ranks.allows("b-c", toImport: "A"))
    #expect(!ranks.allows("A", toImport: "b-c") && !ranks.allows("b-c", toImport: "D"))
    #expect(ranks.allows("A", toImport: "Glibc"))
  }

  @Test func `every folder of Sources is a target with a rank`() throws {
    let rank = Ranks(manifest: try Repository.text("Package.swift")).rank
    let folders = Set(try Repository.files(below: "Sources", "").map { String($0.split(separator: "/")[1]) })
    #expect(folders.subtracting(rank.keys) == [])
    #expect(Set(rank.values).count > 4)
  }

  @Test func `imports go down only, never within a rank`() async throws {
    let ranks = Ranks(manifest: try Repository.text("Package.swift"))
    let imports = try await imports()
    #expect(imports.count > 100)
    let upward = imports.filter { !ranks.allows($0.target, toImport: $0.module) }.map(\.place)
    #expect(upward == [])
  }

  @Test func `PoolCore imports nothing but the standard library and swift-collections`() async throws {
    let allowed: Set = ["DequeModule", "HeapModule", "OrderedCollections", "Synchronization"]
    let imported = Set(try await imports().filter { $0.target == "PoolCore" }.map(\.module))
    #expect(imported.subtracting(allowed) == [])
    #expect(!imported.isEmpty)
  }

  @Test func `the programs do without the whole of Foundation`() async throws {
    let forbidden: Set = ["Foundation", "FoundationNetworking", "FoundationXML", "FoundationInternationalization"]
    #expect(try await imports().filter { forbidden.contains($0.module) }.map(\.place) == [])
  }

  @Test func `the supervisor and what it stands on speak no HTTP`() async throws {
    let facingSystemd: Set = ["PoolCore", "Varlink", "Systemd", "GPUInventory", "Launching", "Supervisor"]
    let forbidden: Set = ["NIOHTTP1", "OllamaAPI", "Gateway", "Console"]
    #expect(
      try await imports().filter { facingSystemd.contains($0.target) && forbidden.contains($0.module) }.map(\.place)
        == [])
  }
}
