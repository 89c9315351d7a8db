/// Why a configuration was not accepted: everything that is wrong with it, up to a bound.
package struct ConfigurationError: Error, Sendable, Equatable {
  /// At least one; at most `problemsPerFile` for each file.
  package var problems: [ConfigurationProblem]

  /// How many more there were.
  package var omitted = 0

  package static let problemsPerFile = 20

  package init(problems: [ConfigurationProblem], omitted: Int = 0) {
    self.problems = problems
    self.omitted = omitted
  }
}

extension ConfigurationError: CustomStringConvertible {
  /// A line for each problem.
  package var description: String {
    let lines = problems.map(\.description) + (omitted > 0 ? ["and \(omitted) more"] : [])
    return lines.joined(separator: "\n")
  }
}

/// One thing that is wrong, and what would be right.
package struct ConfigurationProblem: Sendable, Equatable, CustomStringConvertible {
  /// `nil` for what stands in no file, such as an inherited socket.
  package var position: ConfigurationPosition?
  /// The key, such as `scaling.min` or `placements[1].gpus`.
  package var key: String
  package var what: String
  package var expected: String

  package init(at position: ConfigurationPosition?, key: String, _ what: String, expected: String) {
    self.position = position
    self.key = key
    self.what = what
    self.expected = expected
  }

  func isBefore(_ other: ConfigurationProblem) -> Bool {
    (position?.line ?? 0, position?.column ?? 0) < (other.position?.line ?? 0, other.position?.column ?? 0)
  }

  /// `FILE:LINE:COLUMN: KEY: what is wrong; expected ...`.
  package var description: String {
    let place = position.map { "\($0): " } ?? ""
    return "\(place)\(key): \(what); expected \(expected)"
  }
}

/// A place in a file. Lines and columns count from 1, columns in Unicode scalars; 0 stands for the whole file.
package struct ConfigurationPosition: Sendable, Hashable, CustomStringConvertible {
  package var file: String
  package var line: Int
  package var column: Int

  package init(file: String, line: Int = 0, column: Int = 0) {
    self.file = file
    self.line = line
    self.column = column
  }

  package var description: String { line > 0 ? "\(file):\(line):\(column)" : file }
}
