/// What is wrong with a trace, for people.
package struct TraceError: Error, Hashable, Sendable, CustomStringConvertible {
  package let file: String
  /// From 1; nil where it is not one line's.
  package let line: Int?
  package let problem: String

  init(_ file: String, line: Int? = nil, _ problem: String) {
    self.file = file
    self.line = line
    self.problem = problem
  }

  package var description: String { "\(file)\(line.map { ":\($0)" } ?? ""): \(problem)" }
}
