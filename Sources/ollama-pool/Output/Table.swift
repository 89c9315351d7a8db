/// A table as text: columns two blanks apart, each as wide as its widest cell, no line longer than the terminal.
struct Table {
  enum Alignment { case left, right }

  enum Style {
    case plain, good, fair, bad

    private var code: String? {
      switch self {
      case .plain: nil
      case .good: "32"
      case .fair: "33"
      case .bad: "31"
      }
    }

    func applied(to text: some StringProtocol, on terminal: Terminal) -> String {
      guard terminal.hasColours, let code else { return String(text) }
      return "\u{1b}[\(code)m\(text)\u{1b}[0m"
    }
  }

  struct Cell: ExpressibleByStringInterpolation {
    var text: String
    var style = Style.plain

    /// nil shows as `-`.
    init(_ text: String?, style: Style = .plain) {
      let shown = text.map(Printable.text) ?? ""
      self.text = shown.isEmpty ? "-" : shown
      self.style = style
    }

    init(_ number: Int?) { self.init(number.map(String.init)) }

    init(stringLiteral value: String) { self.init(value) }
  }

  struct Column: ExpressibleByStringLiteral {
    var title: String
    var alignment = Alignment.left

    init(stringLiteral value: String) { title = value }
    static func number(_ title: String) -> Column {
      var column = Column(stringLiteral: title)
      column.alignment = .right
      return column
    }
  }

  private static let gap = "  "

  var columns: [Column]
  var rows: [[Cell]] = []

  init(_ columns: [Column]) { self.columns = columns }

  /// The lines, without a line break at the end. What does not fit ends with `…`.
  func text(on terminal: Terminal) -> String {
    let widths = columns.indices.map { index in
      rows.reduce(columns[index].title.count) { max($0, $1[index].text.count) }
    }
    let head = columns.map { Cell($0.title) }
    return ([head] + rows).map { line(of: $0, widths, terminal) }.joined(separator: "\n")
  }

  private func line(of cells: [Cell], _ widths: [Int], _ terminal: Terminal) -> String {
    var line = ""
    var left = terminal.width ?? .max
    for (index, cell) in cells.enumerated() {
      let isLast = index == cells.count - 1
      let padding = String(repeating: " ", count: widths[index] - cell.text.count)
      let before = columns[index].alignment == .right ? padding : ""
      let after = columns[index].alignment == .left && !isLast ? padding : ""
      let start = (index == 0 ? "" : Self.gap) + before
      let needed = start.count + cell.text.count
      guard needed <= left else {
        // One column is kept for the sign that something is missing.
        let room = left - start.count - 1
        return room < 0
          ? line.cut(left) : line + start + cell.style.applied(to: cell.text.prefix(room) + "…", on: terminal)
      }
      line += start + cell.style.applied(to: cell.text, on: terminal)
      left -= needed
      line += String(after.prefix(left))
      left -= min(left, after.count)
    }
    return line
  }
}

extension String {
  /// With a last sign that there is more, where there is room for one. Colours stay whole: they are no part of padding.
  fileprivate func cut(_ room: Int) -> String { room > 0 ? self + "…" : self }
}

/// Text of others (models, paths, reasons) as a terminal may get it.
enum Printable {
  /// On one line and without control characters: a client's path must not move an operator's cursor.
  static func text(_ text: String) -> String {
    let isPlain = text.unicodeScalars.allSatisfy { !isControl($0) }
    return isPlain ? text : String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? " " : $0 }))
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse: true
    default: false
    }
  }
}
