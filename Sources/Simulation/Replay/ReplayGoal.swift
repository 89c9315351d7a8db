import PoolCore

/// What a pool is to reach, such as `p95 < 5s`.
package struct ReplayGoal: Hashable, Sendable, CustomStringConvertible {
  package enum Figure: String, Hashable, Sendable, CaseIterable {
    case mean, p50, p95, p99
    /// The share of the requests that wait longer than a second.
    case overSecond = "over-1s"

    package var isTime: Bool { self != .overSecond }
  }

  package let figure: Figure
  /// Seconds, or a share from 0 to 1. What is reached is below it.
  package let bound: Double
  package let description: String

  /// - Throws: what is wrong with the text.
  package init(_ text: String) throws(Problem) {
    let forms =
      "a goal is like 'p95 < 5s' or 'over-1s < 2%', with \(Figure.allCases.map(\.rawValue).joined(separator: ", "))"
    guard let sign = text.firstIndex(of: "<") else { throw Problem("\"\(text)\" has no <: \(forms)") }
    let name = text[..<sign].trimmed
    guard let figure = Figure(rawValue: String(name)) else { throw Problem("\"\(name)\" is no figure: \(forms)") }
    let written = text[text.index(after: sign)...].trimmed
    let units: [(String, Double)] = figure.isTime ? [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600)] : [("%", 0.01)]
    guard let unit = units.first(where: { written.hasSuffix($0.0) }),
      let number = Double(written.dropLast(unit.0.count).trimmed), number > 0, number.isFinite
    else { throw Problem("\"\(written)\" is no \(figure.isTime ? "time" : "share") above zero: \(forms)") }
    self.figure = figure
    bound = number * unit.1
    description = "\(name) < \(written)"
  }

  package func value(_ figures: ReplayFigures) -> Double {
    switch figure {
    case .mean: figures.waitMean
    case .p50: figures.waitP50
    case .p95: figures.waitP95
    case .p99: figures.waitP99
    case .overSecond: figures.shareOverSecond
    }
  }

  /// Nothing that loses requests reaches anything.
  package func isReached(_ figures: ReplayFigures) -> Bool { figures.unserved == 0 && value(figures) < bound }

  package struct Problem: Error, Hashable, Sendable {
    package let text: String
    init(_ text: String) { self.text = text }
  }
}
