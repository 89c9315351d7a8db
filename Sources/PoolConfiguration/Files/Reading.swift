import Yams

/// What reading the files has brought to light so far.
struct Reading {
  /// The file being read.
  private(set) var file = ""

  /// Where each key's value stands, by its path such as `scaling.min`; a later file's place wins.
  private(set) var positions: [String: ConfigurationPosition] = [:]

  private(set) var problems: [ConfigurationProblem] = []
  private(set) var omitted = 0
  private var problemsOfEarlierFiles = 0

  mutating func begin(file: String) {
    self.file = file
    problemsOfEarlierFiles = problems.count
  }

  /// Keeps the problems of a file in the order of their places.
  mutating func report(_ problem: ConfigurationProblem) {
    let ofThisFile = problems[problemsOfEarlierFiles...]
    guard ofThisFile.count < ConfigurationError.problemsPerFile else {
      omitted += 1
      return
    }
    problems.insert(problem, at: ofThisFile.firstIndex { problem.isBefore($0) } ?? problems.endIndex)
  }

  mutating func report(_ key: String, at node: Node, _ what: String, expected: String) {
    report(ConfigurationProblem(at: position(of: node), key: key, what, expected: expected))
  }

  /// Reports that the value of `key` is not what it must be.
  mutating func reportValue(_ key: String, _ node: Node, expected: String) {
    report(key, at: node, Self.describe(node), expected: expected)
  }

  mutating func found(_ key: String, at node: Node) {
    positions[key] = position(of: node)
  }

  private func position(of node: Node) -> ConfigurationPosition {
    ConfigurationPosition(file: file, line: node.mark?.line ?? 0, column: node.mark?.column ?? 0)
  }

  private static func describe(_ node: Node) -> String {
    switch node {
    case .sequence: "is a list"
    case .mapping: "is a map"
    case .alias: "is an alias"
    case .scalar(let scalar):
      if node.isNothing {
        "has no value"
      } else if scalar.style == .plain {
        "is \(quote(scalar.string))"
      } else {
        "is the text \"\(quote(scalar.string))\""
      }
    }
  }

  /// Text of a file as a message may show it: one line, of bounded length.
  static func quote(_ text: String) -> String {
    let shown = text.unicodeScalars.prefix(60).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : String($0) }
    return shown.joined() + (text.unicodeScalars.count > 60 ? "…" : "")
  }
}

extension Node {
  /// Whether the file gives a key and no value.
  var isNothing: Bool {
    guard case .scalar(let scalar) = self, scalar.style == .plain else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
  }
}
