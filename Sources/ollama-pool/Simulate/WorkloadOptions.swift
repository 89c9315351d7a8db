import ArgumentParser
import FoundationEssentials
import Glibc
import PoolConfiguration
import PoolCore
import Simulation

/// Which requests are replayed.
struct WorkloadOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The trace, or the pool's own history.sqlite.", valueName: "file"), completion: .file())
  var trace: String

  @Option(
    help: ArgumentHelp(
      "How long questions and answers are, for a trace of rates: ServeGen's JSON.", valueName: "file"),
    completion: .file(extensions: ["json"]))
  var tokens: String?

  @Option(
    help: ArgumentHelp(
      "For a trace of rates: how much of the pool the busiest ten minutes take, as 85%.",
      discussion: "Of several pools, of the one with the most GPUs: all get the same requests.", valueName: "share"))
  var load = ShareArgument(0.85)

  @Option(
    help: ArgumentHelp("For a trace of rates: all lengths times this, up to --longest.", valueName: "factor"))
  var tokenFactor = 1.0

  @Option(help: ArgumentHelp("For a trace of rates: the longest question and answer.", valueName: "tokens"))
  var longest = 131_072

  @Option(help: ArgumentHelp("Which part: since the trace's beginning, as 8h.", valueName: "duration"))
  var from: DurationArgument?

  @Option(help: ArgumentHelp("Which part: for how long, as 24h.", valueName: "duration")) var length: DurationArgument?

  @Option(help: ArgumentHelp("So many times as many requests in the same time.", valueName: "factor")) var faster = 1.0

  @Option(
    help: ArgumentHelp(
      "When the trace begins, for scaling.schedule, as 'mon 08:00'.",
      discussion: "Without it: Monday's midnight, or when the pool's history says.", valueName: "time"))
  var startsAt: WeekTimeArgument?

  @Option(
    name: .customLong("seed"),
    help: ArgumentHelp("What chance goes by, or several: 1..5. Figures are then means.", valueName: "number"))
  var seeds = NumberRange(1...1)

  func validate() throws {
    guard faster > 0, faster <= 1_000 else { throw ValidationError("--faster is above 0, up to 1000.") }
    guard tokenFactor > 0, tokenFactor <= 1_000 else { throw ValidationError("--token-factor is above 0, up to 1000.") }
    guard longest > 0 else { throw ValidationError("--longest is above 0.") }
  }

  /// What the files hold.
  struct Source {
    let trace: Trace
    let lengths: TokenLengths?
    /// When the trace begins, if it says so.
    var startsAt: WeekTime?

    var hasSeveralModels: Bool { if case .requests(let workload) = trace { workload.hasSeveralModels } else { false } }

    /// - Parameter settings: of the largest pool.
    func requests(_ options: WorkloadOptions, _ settings: ReplaySettings, seed: UInt64) throws -> Workload {
      let workload: Workload
      switch trace {
      case .requests(let requests): workload = requests
      case .rates(let rates):
        guard let lengths else {
          throw CommandFailure(
            "\(options.trace) has rates and no requests: say how long these are with --tokens", status: EX_USAGE)
        }
        let slots = Double(settings.gpus * settings.slots)
        let perSecond = slots / settings.speed.seconds(lengths, slots: settings.slots)
        workload = try rates.workload(
          options.part, factor: options.load.share * perSecond / rates.busiest, tokens: lengths, seed: seed)
      }
      return options.faster == 1 ? workload : workload.faster(by: options.faster)
    }
  }

  var part: Trace.Part { Trace.Part(from: from?.duration ?? .zero, length: length?.duration) }

  func read() throws -> Source {
    if RecordedHistory.isDatabase(trace) {
      let history = try RecordedHistory(trace, part)
      return Source(trace: .requests(history.workload), lengths: nil, startsAt: history.startsAt)
    }
    let trace = try content(of: trace).withUnsafeBytes { try Trace.read($0, file: self.trace, part: part) }
    let lengths = try tokens.map { try TokenLengths.read(content(of: $0), file: $0) }?
      .scaled(by: tokenFactor, atMost: longest)
    return Source(trace: trace, lengths: lengths)
  }

  private func content(of file: String) throws -> Data {
    do {
      return try Data(contentsOf: URL(filePath: file), options: .mappedIfSafe)
    } catch {
      throw CommandFailure("\(file) can't be read", remedy: "name a file with --trace")
    }
  }
}

/// `mon 08:00`.
struct WeekTimeArgument: ExpressibleByArgument {
  let time: WeekTime

  init?(argument: String) {
    guard let time = WeekTime(parsing: argument) else { return nil }
    self.time = time
  }
}

/// `85%`.
struct ShareArgument: ExpressibleByArgument, CustomStringConvertible {
  let share: Double

  init(_ share: Double) { self.share = share }

  init?(argument: String) {
    guard argument.hasSuffix("%"), let percent = Double(argument.dropLast()), percent > 0, percent <= 1_000 else {
      return nil
    }
    share = percent / 100
  }

  var description: String { "\(Int(share * 100))%" }
}

/// `4`, or `1..8`.
struct NumberRange: ExpressibleByArgument, CustomStringConvertible {
  let numbers: ClosedRange<Int>

  init(_ numbers: ClosedRange<Int>) { self.numbers = numbers }

  init?(argument: String) {
    let ends = argument.split(separator: "..", omittingEmptySubsequences: false).map { Int($0) }
    guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2, 1 <= first, first <= last,
      last <= 1_000
    else { return nil }
    numbers = first...last
  }

  var description: String {
    numbers.count == 1 ? "\(numbers.lowerBound)" : "\(numbers.lowerBound)..\(numbers.upperBound)"
  }
}
