import FoundationEssentials
import PoolCore

/// Moonshot's traces (Qin et al., Mooncake, FAST 2025): a JSON object in each line, with `timestamp` in milliseconds,
/// `input_length` and `output_length` in tokens. What else it has is left out.
enum MooncakeTrace {
  private struct Line: Decodable {
    let timestamp: Double
    let input_length: Int
    let output_length: Int
  }

  static func request(_ line: Substring) throws(LineProblem) -> (time: Duration, input: Int, output: Int) {
    let read: Line
    do {
      read = try JSONDecoder().decode(Line.self, from: Data(line.utf8))
    } catch DecodingError.keyNotFound(let key, _) {
      throw LineProblem("has no \(key.stringValue)")
    } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
      throw LineProblem("\(context.codingPath.last?.stringValue ?? "it") is no number, or not a whole one")
    } catch {
      throw LineProblem("is no JSON object: \"\(line.prefix(60))\"")
    }
    guard read.timestamp >= 0, read.timestamp < 1e15 else {
      throw LineProblem("timestamp is \(read.timestamp), and not milliseconds from 0")
    }
    return (
      .seconds(rounding: read.timestamp / 1_000), try TraceField.tokens(read.input_length, "input_length"),
      try TraceField.tokens(read.output_length, "output_length")
    )
  }
}
