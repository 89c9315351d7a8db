import Testing

/// What of the style a machine can hold.
struct StyleTests {
  private func sources() throws -> [String] { try Repository.files(below: "Sources", ".swift") }
  private func tests() throws -> [String] {
    try Repository.files(below: "Tests", ".swift").filter { !$0.hasPrefix("Tests/ProjectTests/") }
  }

  /// The line without what follows `//`, and without the contents of its strings.
  static func code(_ line: Substring) -> Substring {
    let withoutStrings = line.replacing(/"(?:[^"\\]|\\.)*"/, with: "\"\"")
    return withoutStrings.firstRange(of: "//").map { withoutStrings[..<$0.lowerBound] } ?? withoutStrings[...]
  }

  @Test func `strings and comments are no code`() {
    #expect(Self.code(#"call("sleep(1) \" //") // print(1)"#) == #"call("") "#)
  }

  @Test func `libraries do not print`() throws {
    let libraries = try sources().filter { !$0.hasPrefix("Sources/ollama-") }
    #expect(
      try Repository.places(in: libraries) { Self.code($0).contains(/\b(?:debugPrint|print|dump|NSLog)\(/) } == [])
  }

  @Test func `nothing is public`() throws {
    #expect(try Repository.places(in: sources()) { Self.code($0).contains(/^\s*(?:public|open)\s/) } == [])
  }

  @Test func `input cannot end a program`() throws {
    #expect(
      try Repository.places(in: sources()) {
        Self.code($0).contains(
          /\btry!|\bas! |\b(?:fatalError|assertionFailure|preconditionFailure)\(|\bunowned\(unsafe\)/)
      } == [])
  }

  @Test func `the core knows neither time nor chance`() throws {
    let core = try sources().filter { $0.hasPrefix("Sources/PoolCore/") }
    #expect(
      try Repository.places(in: core) {
        Self.code($0).contains(
          /\b(?:ContinuousClock|SuspendingClock|Date|Task|SystemRandomNumberGenerator|UUID)\b|\.random\(|\.shuffled?\(\)/
        )
      } == [])
  }

  @Test func `tests wait for something to be true, and do not sleep`() throws {
    let tests = try tests().filter { !$0.hasPrefix("Tests/Support/") }
    #expect(
      try Repository.places(in: tests) {
        Self.code($0).contains(/\b(?:Task\.sleep|Thread\.sleep|usleep|nanosleep|sleep)\(/)
      } == [])
  }

  @Test func `no file is longer than 600 lines`() throws {
    let long = try (sources() + tests()).map { ($0, try Repository.lines($0).count) }.filter { $0.1 > 600 }
    #expect(long.map { "\($0.0): \($0.1)" } == [])
  }

  @Test func `nothing is left to be done`() throws {
    #expect(
      try Repository.places(in: sources() + tests()) { $0.contains(/\b(?:TODO|FIXME|XXX|HACK|SCAFFOLD)\b/) } == [])
  }

  @Test func `nothing depends on where it was written`() throws {
    let paths = /(?:^|[\s"'(=:])\/(?:work|home\/[a-z]+|root|Users|workspace)\/|\.\.\/shared\b/
    #expect(try Repository.places(in: Repository.everything()) { $0.contains(paths) } == [])
  }

  @Test func `the version is the same everywhere`() throws {
    let version = try Repository.text("VERSION").trimmingPrefix(/\s*/).prefix { !$0.isWhitespace }
    #expect(version.wholeMatch(of: /\d+\.\d+\.\d+(?:-[\w.]+)?/) != nil)
    #expect(try Repository.text("Sources/ollama-pool/Version.swift").contains("\"\(version)\""))
  }
}
