import Testing

@testable import ollama_pool

@Suite struct TableTests {
  private static let file = Terminal(width: nil, hasColours: false)

  private static var table: Table {
    var table = Table(["NAME", .number("PID"), "REASON"])
    table.rows = [
      ["gpu0", Table.Cell(7), "it is well"], [Table.Cell("gpu10", style: .bad), Table.Cell(4711), Table.Cell(nil)],
    ]
    return table
  }

  @Test func `columns are as wide as their widest cell, and numbers stand at the right`() {
    #expect(
      Self.table.text(on: Self.file) == """
        NAME    PID  REASON
        gpu0      7  it is well
        gpu10  4711  -
        """)
  }

  @Test func `a terminal's lines are never longer than it is wide, and say where they were cut`() {
    for width in 1...30 {
      let lines = Self.table.text(on: Terminal(width: width, hasColours: false)).split(separator: "\n")
      #expect(lines.count == 3)
      #expect(lines.allSatisfy { $0.count <= width })
    }
    let lines = Self.table.text(on: Terminal(width: 18, hasColours: false)).split(separator: "\n")
    #expect(lines[1] == "gpu0      7  it i…")
    #expect(lines[2] == "gpu10  4711  -")
  }

  @Test func `colours are for terminals that want them, and take no room`() {
    let coloured = Self.table.text(on: Terminal(width: 80, hasColours: true))
    #expect(coloured.contains("\u{1b}[31mgpu10\u{1b}[0m  4711"))
    #expect(!Self.table.text(on: Terminal(width: 80, hasColours: false)).contains("\u{1b}"))
  }

  @Test func `control characters of others never reach a terminal`() {
    #expect(Table.Cell("a\u{1b}[2J\nb\u{202e}").text == "a [2J b ")
  }

  @Test(arguments: [
    (0, "0s"), (0.44, "0.4s"), (9.96, "10s"), (12.5, "12s"), (59.7, "59s"), (60, "1m"), (200, "3m 20s"),
    (7500, "2h 5m"),
    (356_400, "4d 3h"), (-1, "-"), (.infinity, "-"), (1e300, "-"),
  ])
  func `times are said in at most two units`(seconds: Double, text: String) {
    #expect(Quantity.duration(seconds: seconds) == text)
  }

  @Test(arguments: [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (85_899_345_920, "80 GiB"), (1 << 29, "512 MiB")])
  func `sizes are said in the largest unit that fits`(bytes: Int, text: String) {
    #expect(Quantity.bytes(bytes) == text)
  }
}
