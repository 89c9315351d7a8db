package import PoolCore

/// What a reader of models tells the pool, a line each.
package enum ReaderMessage: Equatable, Sendable {
  /// It reads.
  case alive
  case outcome(ReadAhead.Outcome)

  private static let aliveLine = "reading"
  private static let separator: Character = "\t"

  var line: String {
    switch self {
    case .alive: Self.aliveLine
    case .outcome(let outcome):
      [
        outcome.model, String(outcome.size), String(outcome.read),
        String(Int64(outcome.duration / .microseconds(1))), outcome.problem ?? "",
      ].map { $0.replacing("\n", with: " ").replacing("\t", with: " ") }.joined(separator: String(Self.separator))
    }
  }

  /// nil for what no reader says.
  init?(line: String) {
    if line == Self.aliveLine {
      self = .alive
      return
    }
    let fields = line.split(separator: Self.separator, omittingEmptySubsequences: false)
    guard fields.count == 5, !fields[0].isEmpty, let size = Int(fields[1]), let read = Int(fields[2]),
      let microseconds = Int64(fields[3]), microseconds >= 0, size >= 0, (0...size).contains(read)
    else { return nil }
    self = .outcome(
      ReadAhead.Outcome(
        model: String(fields[0]), size: size, read: read, duration: .microseconds(microseconds),
        problem: fields[4].isEmpty ? nil : String(fields[4])))
  }
}
