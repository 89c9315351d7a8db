/// Writes metrics in Prometheus' text format, version 0.0.4: families of samples, each with its HELP and TYPE.
package struct MetricsText: Sendable {
  package enum Kind: String, Sendable { case counter, gauge }

  package typealias Labels = [(name: String, value: String)]

  package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  package private(set) var text = ""

  package init() {}

  /// A family with one sample.
  package mutating func add(_ name: String, _ kind: Kind, _ help: String, value: Double) {
    add(name, kind, help, samples: [(labels: [], value: value)])
  }

  /// A family with a sample for each set of labels.
  package mutating func add(
    _ name: String, _ kind: Kind, _ help: String, samples: [(labels: Labels, value: Double)]
  ) {
    begin(name, kind.rawValue, help)
    for sample in samples { write(name, sample.labels, sample.value) }
  }

  package mutating func add(_ name: String, _ help: String, histogram: Histogram) {
    begin(name, "histogram", help)
    for (bound, count) in zip(histogram.bounds, histogram.cumulativeCounts) {
      write("\(name)_bucket", [("le", Self.number(bound))], Double(count))
    }
    write("\(name)_bucket", [("le", "+Inf")], Double(histogram.count))
    write("\(name)_sum", [], histogram.sum)
    write("\(name)_count", [], Double(histogram.count))
  }

  private mutating func begin(_ name: String, _ kind: String, _ help: String) {
    text += "# HELP \(name) \(Self.escaped(help))\n# TYPE \(name) \(kind)\n"
  }

  private mutating func write(_ name: String, _ labels: Labels, _ value: Double) {
    text += name
    if !labels.isEmpty {
      text += "{"
      text += labels.map { "\($0.name)=\"\(Self.escaped($0.value, quotes: true))\"" }.joined(separator: ",")
      text += "}"
    }
    text += " \(Self.number(value))\n"
  }

  private static func escaped(_ text: String, quotes: Bool = false) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": escaped += "\\\\"
      case "\n": escaped += "\\n"
      case "\"" where quotes: escaped += "\\\""
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }

  /// As the format wants it; whole numbers without a fraction.
  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if let whole = Int64(exactly: value) { return String(whole) }
    return "\(value)"
  }
}
