import Testing

import PoolConfiguration

/// What can be done to the parser itself.
@Suite struct YAMLTests {
  @Test("malformed YAML is reported with its place")
  func malformed() {
    #expect(problems("slots: 1\nlisten: [1\nx: 2")[0].hasPrefix("f:3:"))
    #expect(problems("slots: 1\n\tlauncher: auto")[0].hasSuffix("expected spaces, not tabs, before a key"))
    #expect(problems("a: 1\n---\nb: 2")[0] == "f:2:1: YAML: but found another document; expected valid YAML")
    #expect(problems("x: \"\\ud800\"")[0].hasPrefix("f:1:"))
    #expect(problems("slots: 1\nx: \u{1}")[0].hasPrefix("f:2:4: YAML: "))
    #expect(problems("? [a]\n: 1")[0].hasPrefix("f:1:3: the file: has a key that is no word; expected one of listen"))
  }

  @Test("anchors and aliases are refused")
  func anchors() {
    #expect(
      problems("preload: &a [x]") == ["f:1:10: YAML: uses the anchor &a; expected values written out"])
    #expect(problems("environment: {A: &b 1, B: *b}").count == 1)
    #expect(problems("environment: {A: *b}")[0].contains("alias"))
    #expect(problems("environment: {A: \"*b &c\", B: 2*3}") == [])
  }

  @Test("a short file cannot stand for a huge one", .timeLimit(.minutes(1)))
  func expansion() {
    var bomb = "a: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in 1...30 {
      let alias = "*a\(level - 1)"
      bomb += "b\(level): &a\(level) [\(Array(repeating: alias, count: 9).joined(separator: ","))]\n"
    }
    #expect(problems(bomb + "? *a30\n: 1\n")[0] == "f: YAML: has more than 32 aliases; expected values written out")
    #expect(problems("? &a [x, y]\n: 1\n? [*a, *a]\n: 2\n").count == 1)
  }

  @Test("deep nesting is refused", .timeLimit(.minutes(1)))
  func depth() {
    let deep = 500_000
    #expect(problems(String(repeating: "[", count: deep)).count == 1)
    #expect(problems(String(repeating: "- ", count: deep)).count == 1)
    #expect(problems(String(repeating: "{a: ", count: deep / 2)).count == 1)
    #expect(problems(String(repeating: "? ", count: deep)).count == 1)
    let shallow = String(repeating: "[", count: 900) + String(repeating: "]", count: 900)
    #expect(problems("preload: \(shallow)").count == 1)
  }

  @Test("no text makes the reader crash", arguments: 0..<40 as Range<UInt64>)
  func random(seed: UInt64) {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    func next(_ bound: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state % UInt64(bound))
    }
    let pieces = [
      "slots", "listen", "gpus", "scaling", "uuid", "environment", ": ", ":", "\n", "\n  ", "- ", "[", "]", "{", "}",
      ", ", "\"", "'", "#", "1", "auto", "&a ", "*a", "!!int ", "|", ">", "?", "\t", "é", "\u{FEFF}", "%", "---\n",
      "~", "30s", "127.0.0.1:1",
    ]
    for _ in 0..<100 {
      let text = (0..<next(40)).map { _ in pieces[next(pieces.count)] }.joined()
      for problem in problems(text) {
        #expect(problem.hasPrefix("f") && problem.contains("; expected "), "\(text.debugDescription)")
        #expect(!problem.contains("\n"), "\(text.debugDescription)")
      }
    }
  }
}
