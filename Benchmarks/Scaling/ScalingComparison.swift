import ArgumentParser
import FoundationEssentials
import PoolCore
import Simulation

/// The pool's rule beside other autoscalers, on the same workloads and with the same queue.
@main
struct ScalingComparison: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scaling-comparison",
    abstract: "Replay workloads with the pool's rule and with those of others, and print a table.",
    discussion:
      "Needs the traces that Benchmarks/README.md names. 60 tokens a second alone, four slots, cold starts of 20 s.")

  @Option(help: "The folder with the traces.") var traces: String
  @Option(help: "Which workload; without it all.") var workload: [Workloads] = []
  @Option(help: "So many seeds, from 1.") var seeds = 5

  enum Workloads: String, ExpressibleByArgument, CaseIterable {
    case r1On4 = "r1-4"
    case r1On8 = "r1-8"
    case code
    /// What might have come instead: one request in so many left out or longer, forwards or backwards.
    case codeVaried = "code-varied"
    case conversation = "conv"
    /// Not a table of policies: who waits how long beside one who sends many at once.
    case fairness
    /// Nor this: what one queue for all instances is worth.
    case dispatch

    var gpus: Int {
      switch self {
      case .r1On4, .fairness, .dispatch: 4
      case .r1On8, .code, .codeVaried: 8
      // Eight would be too few for it.
      case .conversation: 12
      }
    }
    var isRandom: Bool { self == .r1On4 || self == .r1On8 || self == .codeVaried }
  }

  func run() throws {
    for workload in workload.isEmpty ? Workloads.allCases : workload {
      switch workload {
      case .fairness: Fairness(lengths: try lengths(), seeds: seeds).print()
      case .dispatch: Dispatching(lengths: try lengths(), seeds: seeds).print()
      case .r1On4, .r1On8, .code, .codeVaried, .conversation: try compare(workload)
      }
    }
  }

  private func compare(_ workload: Workloads) throws {
    let comparison = Comparison(
      gpus: workload.gpus,
      runs: try (1...UInt64(workload.isRandom ? seeds : 1)).map { try requests(of: workload, seed: $0) })
    print("### \(workload.rawValue), \(workload.gpus) GPUs, \(comparison.runs.map(\.requests.count)) requests\n")
    comparison.print()
  }

  private func data(_ name: String) throws -> Data { try Data(contentsOf: URL(filePath: "\(traces)/\(name)")) }

  /// Of deepseek-r1, half as long.
  private func lengths() throws -> TokenLengths {
    try TokenLengths.read(data("servegen_deepseek-r1_tokens_pdf.json"), file: "tokens").scaled(by: 0.5, atMost: 8_192)
  }

  private func requests(of workload: Workloads, seed: UInt64) throws -> Workload {
    func read(_ name: String) throws -> Trace { try data(name).withUnsafeBytes { try Trace.read($0, file: name) } }
    func azure(_ name: String) throws -> Workload {
      guard case .requests(let requests) = try read("AzureLLMInferenceTrace_\(name).csv") else {
        throw ValidationError("no requests")
      }
      return requests
    }
    switch workload {
    case .code, .conversation: return try azure(workload.rawValue)
    case .codeVaried: return Self.varied(try azure("code"), seed: seed)
    case .r1On4, .r1On8, .fairness, .dispatch:
      guard case .rates(let rates) = try read("servegen_deepseek-r1_rates.csv") else {
        throw ValidationError("no rates")
      }
      let tokens = try lengths()
      let perSecond = Double(workload.gpus * Comparison.slots) / TokenSpeed().seconds(tokens, slots: Comparison.slots)
      // The busiest ten minutes take so much of the pool.
      let load = 0.95
      return try rates.workload(
        Trace.Part(length: .seconds(workload == .r1On4 ? 86_400 : 43_200)),
        factor: load * perSecond / rates.busiest, tokens: tokens, seed: seed)
    }
  }
}

extension ScalingComparison {
  /// The load of a seed is between 0.8 and 1.1 of the trace's: fewer requests, or longer ones. With every second seed
  /// time goes backwards.
  private static func varied(_ workload: Workload, seed: UInt64) -> Workload {
    var random = SeededGenerator(seed: seed)
    let load = Double.random(in: 0.8...1.1, using: &random)
    let last = workload.requests.last?.arrival ?? .zero
    func longer(_ tokens: Int) -> Int { Int(Double(tokens) * max(1, load)) }
    let requests = workload.requests.compactMap { request -> WorkloadRequest? in
      guard Double.random(in: 0..<1, using: &random) < load else { return nil }
      return WorkloadRequest(
        arrival: seed.isMultiple(of: 2) ? .zero + (last - request.arrival) : request.arrival,
        inputTokens: longer(request.inputTokens), outputTokens: longer(request.outputTokens))
    }
    return Workload(requests.sorted { $0.arrival < $1.arrival })
  }
}

/// One pool and several workloads of a kind.
struct Comparison {
  static let slots = 4
  static let coldStart: Duration = .seconds(20)

  let gpus: Int
  let runs: [Workload]
  private func settings(_ scaling: ScalingSettings, _ seed: Int) -> ReplaySettings {
    var settings = ReplaySettings()
    (settings.gpus, settings.slots, settings.scaling) = (gpus, Self.slots, scaling)
    settings.coldStart = Self.coldStart...Self.coldStart
    settings.seed = UInt64(seed)
    return settings
  }

  private func replay(
    _ workload: Workload, _ scaling: ScalingSettings, _ seed: Int, _ policy: (any ScalingPolicy)? = nil
  ) -> Replay {
    var replay = Replay(workload, settings(scaling, seed), policy: policy)
    replay.run()
    return replay
  }

  func print() {
    let whole = runs.enumerated().map { replay($1, ScalingSettings(minimum: gpus, maximum: gpus), $0 + 1).log }
    func figures(_ log: ReplayLog, _ index: Int) -> ReplayFigures { ReplayFigures(log, of: runs[index], gpus: gpus) }
    let always = whole.enumerated().map { figures($1, $0) }
    func each(_ scaling: ScalingSettings, _ policy: (Int) -> (any ScalingPolicy)?) -> [ReplayFigures] {
      runs.indices.map { figures(replay(runs[$0], scaling, $0 + 1, policy($0)).log, $0) }
    }
    let clairvoyant = runs.indices.map { figures(foreseeing(whole[$0], $0), $0) }
    Swift.print(
      """
      | policy | p95 s | Δp95 s | p99 s | over 1 s % | GPU % | of clairvoyant's | flaps/h | cut |
      |---|---|---|---|---|---|---|---|---|
      """)
    func row(_ name: String, _ figures: [ReplayFigures]) {
      let cells = [
        Self.spread(figures.map(\.waitP95)), Self.spread(zip(figures, always).map { $0.waitP95 - $1.waitP95 }),
        Self.spread(figures.map(\.waitP99)), Self.spread(figures.map { $0.shareOverSecond * 100 }),
        Self.spread(figures.map { $0.gpuShare * 100 }),
        Self.spread(zip(figures, clairvoyant).map { $0.gpuHours / $1.gpuHours }, 100),
        Self.spread(figures.map(\.flapsPerHour)), "\(figures.reduce(0) { $0 + $1.cut })",
      ]
      Swift.print("| \(name) | \(cells.joined(separator: " | ")) |")
    }
    row("always on", always)
    row("clairvoyant", clairvoyant)
    row("Knative", each(ScalingSettings()) { _ in Knative() })
    row("Knative, 300 s delay", each(ScalingSettings()) { _ in Knative(delay: .seconds(300)) })
    row("HPA on in-flight", each(ScalingSettings()) { _ in HorizontalPodAutoscaler(.inFlight) })
    row("KEDA on the queue", each(ScalingSettings()) { _ in HorizontalPodAutoscaler(.queue) })
    for preset in ScalingSettings.Preset.allCases {
      row("the rule, \(preset.rawValue)", each(ScalingSettings(preset)) { _ in nil })
    }
    Swift.print("")
  }

  /// On fewer instances requests take longer, so what is needed is found out in several runs, each with what the ones
  /// before had needed.
  private func foreseeing(_ whole: ReplayLog, _ index: Int) -> ReplayLog {
    var policy = Clairvoyant(slots: Self.slots, coldStart: Self.coldStart)
    var log = whole
    for _ in 0..<4 {
      policy.learn(log)
      log = replay(runs[index], ScalingSettings(), index + 1, policy).log
    }
    return log
  }

  /// The mean, and from the least to the most.
  private static func spread(_ values: [Double], _ precision: Double = 10) -> String {
    func text(_ value: Double) -> String { "\((value * precision).rounded() / precision)" }
    let mean = values.reduce(0, +) / Double(max(1, values.count))
    guard let least = values.min(), let most = values.max(), values.count > 1 else { return text(mean) }
    return "\(text(mean)) (\(text(least)) to \(text(most)))"
  }
}
