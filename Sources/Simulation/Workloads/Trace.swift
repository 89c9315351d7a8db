import PoolCore

/// What a trace's file holds.
package enum Trace: Sendable {
  /// Requests that were.
  case requests(Workload)
  /// How many came at which time of the day, of which others like them are made.
  case rates(RequestRates)

  /// Which part of a trace is taken.
  package struct Part: Hashable, Sendable {
    /// Since the trace's beginning.
    package var from: Duration
    package var length: Duration?

    package init(from: Duration = .zero, length: Duration? = nil) {
      self.from = from
      self.length = length
    }

    func contains(_ time: Duration) -> Bool { time >= from && length.map { time < from + $0 } ?? true }
  }

  /// The most requests of a run.
  package static let mostRequests = 2_000_000
  /// The longest time of a run.
  package static let longest: Duration = .seconds(31 * 86_400)
  /// The most tokens of a question or an answer that are believed.
  static let mostTokens = 10_000_000

  /// Reads a trace; which kind of one it is shows by its first line.
  ///
  /// - Parameter file: its name, for errors.
  package static func read(
    _ bytes: UnsafeRawBufferPointer, file: String, part: Part = Part()
  ) throws(TraceError) -> Trace {
    var format: Format?
    var collected = Collected(file: file, part: part)
    for (number, line) in Lines(bytes) {
      guard let known = format else {
        let new = try Format(firstLine: line, number, of: file)
        format = new
        if case .mooncake = new { try collected.add(new, line, number) }
        continue
      }
      try collected.add(known, line, number)
    }
    guard let format else { throw TraceError(file, "is empty. \(Format.known)") }
    return try collected.trace(format)
  }

  private enum Format {
    case azure(AzureTrace)
    case mooncake
    case serveGen(ServeGenTrace)

    static let known =
      "A trace is Azure's (CSV with TIMESTAMP, ContextTokens, GeneratedTokens), Mooncake's (JSON lines "
      + "with timestamp, input_length, output_length) or ServeGen's rates (CSV with t_s, rate_rps, pattern, shape)"

    init(firstLine line: Substring, _ number: Int, of file: String) throws(TraceError) {
      if line.first == "{" {
        self = .mooncake
        return
      }
      let columns = line.fields.map(\.trimmed)
      let found = columns.prefix(20).joined(separator: ", ")
      func column(_ name: String) throws(TraceError) -> Int {
        guard let index = columns.firstIndex(of: name[...]) else {
          throw TraceError(file, line: number, "has no column \(name); its columns are \(found)")
        }
        return index
      }
      if columns.contains("TIMESTAMP") || columns.contains("ContextTokens") || columns.contains("GeneratedTokens") {
        self = .azure(
          AzureTrace(
            time: try column("TIMESTAMP"), input: try column("ContextTokens"), output: try column("GeneratedTokens")))
      } else if columns.contains("rate_rps") || columns.contains("t_s") {
        self = .serveGen(
          ServeGenTrace(
            client: try column("client"), time: try column("t_s"), rate: try column("rate_rps"),
            pattern: try column("pattern"), shape: try column("shape")))
      } else {
        throw TraceError(
          file, line: number, "is no trace that is known: it begins with \"\(line.prefix(60))\". \(Self.known)")
      }
    }
  }

  /// What was read so far.
  private struct Collected {
    let file: String
    let part: Part
    var requests: [WorkloadRequest] = []
    var windows: [RequestRates.Window] = []
    /// In the trace's own time.
    var began: Duration?

    init(file: String, part: Part) {
      self.file = file
      self.part = part
    }

    mutating func add(_ format: Format, _ line: Substring, _ number: Int) throws(TraceError) {
      do throws(LineProblem) {
        switch format {
        case .azure(let azure):
          let (time, input, output) = try azure.request(line)
          try add(at: time, input: input, output: output)
        case .mooncake:
          let (time, input, output) = try MooncakeTrace.request(line)
          try add(at: time, input: input, output: output)
        case .serveGen(let serveGen):
          windows.append(try serveGen.window(line))
          if windows.count > Trace.mostRequests { throw LineProblem("more windows than \(Trace.mostRequests)") }
        }
      } catch {
        throw TraceError(file, line: number, error.text)
      }
    }

    private mutating func add(at time: Duration, input: Int, output: Int) throws(LineProblem) {
      let since = time - (began ?? time)
      began = began ?? time
      // Rows that are a little out of order are as good as others; what is earlier than the first is not.
      guard since + Trace.disorder >= .zero else {
        throw LineProblem("is \(Int(-since.seconds)) s before the first line")
      }
      let arrival = max(.zero, since)
      guard part.contains(arrival) else { return }
      guard arrival - part.from <= Trace.longest else {
        throw LineProblem(
          "is \(Int(arrival.seconds / 86_400)) days after the first, and a run has at most "
            + "\(Int(Trace.longest.seconds / 86_400)): take a part of the trace with --from and --length")
      }
      requests.append(
        WorkloadRequest(arrival: .zero + (arrival - part.from), inputTokens: input, outputTokens: output))
      guard requests.count <= Trace.mostRequests else {
        throw LineProblem(
          "there are more than \(Trace.mostRequests) requests: take a part of the trace with --from and --length")
      }
    }

    func trace(_ format: Format) throws(TraceError) -> Trace {
      if case .serveGen = format {
        let rates = RequestRates(windows)
        guard rates.mean(part) > 0 else { throw TraceError(file, "has no requests\(inPart)") }
        return .rates(rates)
      }
      guard !requests.isEmpty else { throw TraceError(file, "has no requests\(inPart)") }
      return .requests(Workload(requests))
    }

    private var inPart: String { part == Part() ? "" : " in the part that --from and --length take" }
  }

  /// How much earlier than the first line another one may be.
  private static let disorder: Duration = .seconds(60)
}

/// What is wrong with a line.
struct LineProblem: Error {
  let text: String
  init(_ text: String) { self.text = text }
}

/// The lines of a text that are not empty, without their ends, with their numbers from 1.
struct Lines: Sequence, IteratorProtocol {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private var number = 0
  /// The longest that is looked at, in bytes.
  private static let longest = 1 << 20

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  mutating func next() -> (number: Int, text: Substring)? {
    while position < bytes.count {
      let start = position
      var end = start
      while end < bytes.count, bytes[end] != UInt8(ascii: "\n") { end += 1 }
      position = end + 1
      number += 1
      let text = String(decoding: bytes[start..<Swift.min(end, start + Self.longest)], as: UTF8.self)[...].trimmed
      if !text.isEmpty { return (number, text) }
    }
    return nil
  }
}

/// By bytes: characters take several times as long, and a trace may have ten million lines.
extension Substring {
  /// Without white space around it.
  var trimmed: Substring {
    let bytes = utf8.drop(while: Self.isSpace)
    guard let last = bytes.lastIndex(where: { !Self.isSpace($0) }) else { return "" }
    return Substring(bytes[...last])
  }

  /// What stands between commas.
  var fields: [Substring] {
    utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map { Substring($0) }
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
}
