import TestSupport
import Testing

/// What of the style a machine can hold.
struct StyleTests {
  private func sources() throws -> [String] { try Repository.files(below: "Sources", ".swift") }
  private func tests() throws -> [String] {
    try Repository.files(below: "Tests", ".swift").filter { !$0.hasPrefix("Tests/ProjectTests/") }
  }

  private func expectNone(_ lines: [Repository.Line], sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(lines.isEmpty, "\(lines.map(\.description).joined(separator: "\n"))", sourceLocation: sourceLocation)
  }

  @Test func `strings and comments are no code`() {
    let line = Repository.Line(path: "", number: 1, text: #"call("sleep(1) \" //") // print(1)"#)
    #expect(line.code == #"call("") "#)
  }

  @Test func `what is looked for is found`() async throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write("a\n  print(1) // :\n// print(2)\n\"print(3)\"\n", to: "a.swift")
    let found = try await Repository.code(of: [file], matching: #"\bprint\("#)
    #expect(found.map(\.description) == ["\(file):2:   print(1) // :"])
    #expect(try await Repository.lines(of: [file], matching: "print").map(\.number) == [2, 3, 4])
    await #expect(throws: Repository.Failed.self) { try await Repository.lines(of: ["missing"], matching: "x") }
  }

  @Test func `libraries do not print`() async throws {
    let libraries = try sources().filter { !$0.hasPrefix("Sources/ollama-") }
    expectNone(try await Repository.code(of: libraries, matching: #"\b(debugPrint|print|dump|NSLog)\("#))
  }

  @Test func `nothing is public`() async throws {
    expectNone(try await Repository.code(of: sources(), matching: #"^\s*(public|open)\s"#))
  }

  @Test func `input cannot end a program`() async throws {
    let traps = #"\btry!|\bas! |\b(fatalError|assertionFailure)\(|\bunowned\(unsafe\)"#
    expectNone(try await Repository.code(of: sources(), matching: traps))
  }

  @Test func `the core knows neither time nor chance`() async throws {
    let core = try sources().filter { $0.hasPrefix("Sources/PoolCore/") }
    let world =
      #"\b(ContinuousClock|SuspendingClock|Date|Task|SystemRandomNumberGenerator|UUID)\b|\.random\(|\.shuffled?\(\)"#
    expectNone(try await Repository.code(of: core, matching: world))
  }

  @Test func `tests wait for something to be true, and do not sleep`() async throws {
    let tests = try tests().filter { !$0.hasPrefix("Tests/Support/") }
    let sleeps = #"\b(Task\.sleep|Thread\.sleep|usleep|nanosleep|sleep)\("#
    expectNone(try await Repository.code(of: tests, matching: sleeps).filter { !$0.code.contains("time.sleep(") })
  }

  /// Of code, the formatter sees to it.
  @Test func `no comment has a line of more than 120 characters`() async throws {
    expectNone(
      try await Repository.lines(of: sources() + tests(), matching: #"^\s*//.{112}"#).filter { $0.text.count > 120 })
  }

  @Test func `no file is longer than 600 lines`() throws {
    let long = try (sources() + tests()).map { ($0, try Repository.text($0).utf8.count { $0 == UInt8(ascii: "\n") }) }
      .filter { $0.1 > 600 }
    #expect(long.map { "\($0.0): \($0.1)" } == [])
  }

  @Test func `nothing is left to be done`() async throws {
    let marks = #"\b(TODO|FIXME|XXX|HACK|SCAFFOLD)\b"#
    expectNone(try await Repository.lines(of: sources() + tests() + ["Package.swift"], matching: marks))
  }

  @Test func `nothing depends on where it was written`() async throws {
    let paths = #"(^|[[:space:]"'(=:])/(work|home/[a-z]+|root|Users|workspace)/|\.\./shared\b"#
    expectNone(try await Repository.lines(of: Repository.everything(), matching: paths))
  }

  @Test func `the version is the same everywhere`() throws {
    let version = try Repository.text("VERSION").trimmingPrefix(/\s*/).prefix { !$0.isWhitespace }
    #expect(version.wholeMatch(of: /\d+\.\d+\.\d+(?:-[\w.]+)?/) != nil)
    #expect(try Repository.text("Sources/ollama-pool/Version.swift").contains("\"\(version)\""))
  }
}
