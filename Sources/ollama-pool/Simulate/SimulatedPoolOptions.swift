import ArgumentParser
import Glibc
import PoolConfiguration
import PoolCore
import Simulation

/// What decides how many instances there are in a replay.
enum SimulatedPolicy: String, ExpressibleByArgument, CaseIterable {
  case standard = "default"
  case economy
  case latency
  /// As many as there are GPUs, all the time.
  case alwaysOn = "always-on"

  init(_ preset: ScalingSettings.Preset) {
    switch preset {
    case .standard: self = .standard
    case .economy: self = .economy
    case .latency: self = .latency
    }
  }

  var preset: ScalingSettings.Preset? { ScalingSettings.Preset(rawValue: rawValue) }
}

/// The pool that is simulated.
struct SimulatedPoolOptions: ParsableArguments {
  @Option(help: ArgumentHelp("GPUs, one for each instance, or several numbers of them: 1..8.", valueName: "number"))
  var gpus: NumberRange?

  @Option(help: "Requests that an instance works on at once. Without it: slots of the configuration.") var slots: Int?

  @Option(
    help: ArgumentHelp(
      "How instances come and go, also several times. Without it: scaling.policy of the configuration, or all with "
        + "--goal.",
      valueName: "policy"))
  var policy: [SimulatedPolicy] = []

  @Option(
    name: .customLong("set"),
    help: ArgumentHelp(
      "A key of the configuration, as scaling.window=10m or queue.fair=true; also several times.",
      valueName: "key=value"))
  var sets: [String] = []

  @Option(
    help: ArgumentHelp(
      "From the order to start an instance to its slots.",
      discussion: "Without it: scaling.cold_start of the configuration.", valueName: "duration"))
  var coldStart: DurationArgument?

  @Option(
    help: ArgumentHelp(
      "Models that an instance has in memory at once, as OLLAMA_MAX_LOADED_MODELS.",
      discussion: "It counts where the trace names several, as --load-time does.", valueName: "number"))
  var loadedModels = ReplaySettings().loadedModels

  @Option(
    help: ArgumentHelp(
      "How long an instance loads a model that it has not in memory.",
      discussion: "Without it: three quarters of the cold start.", valueName: "duration"))
  var loadTime: DurationArgument?

  @Option(help: ArgumentHelp("Tokens of a question a second, for one request alone.", valueName: "rate"))
  var prefillRate = TokenSpeed().prefill

  @Option(help: ArgumentHelp("Tokens of an answer a second, for one request alone.", valueName: "rate"))
  var decodeRate = TokenSpeed().decode

  @Option(
    help: ArgumentHelp(
      "How much longer everything takes with each further request on an instance.", valueName: "factor"))
  var slowdown = TokenSpeed().slowdown

  func validate() throws {
    guard slots.map({ 1...1_024 ~= $0 }) ?? true else { throw ValidationError("--slots is from 1 to 1024.") }
    guard prefillRate > 0, decodeRate > 0, prefillRate.isFinite, decodeRate.isFinite else {
      throw ValidationError("--prefill-rate and --decode-rate are above 0.")
    }
    guard 1...1_024 ~= loadedModels else { throw ValidationError("--loaded-models is from 1 to 1024.") }
    guard slowdown >= 0, slowdown.isFinite else { throw ValidationError("--slowdown is not negative.") }
  }

  /// What `--set` says, as the configuration has it.
  func changes() throws -> [(name: String, text: String)] {
    try sets.map { set in
      let parts = set.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].isEmpty else {
        throw CommandFailure("--set \(set) is not like scaling.min=2", status: EX_USAGE)
      }
      let keys = parts[0].split(separator: ".", omittingEmptySubsequences: false)
      let text =
        keys.map { "\($0): " }.joined(separator: "{") + parts[1] + String(repeating: "}", count: keys.count - 1)
      return ("--set \(set)", text)
    }
  }

  func policies(_ isSearched: Bool, _ base: Settings) -> [SimulatedPolicy] {
    if !policy.isEmpty { return policy }
    return isSearched ? [.economy, .standard, .latency, .alwaysOn] : [SimulatedPolicy(base.scaling.policy)]
  }

  func settings(_ base: Settings, policy: SimulatedPolicy, gpus: Int, startsAt: WeekTime, seed: UInt64)
    -> ReplaySettings
  {
    var settings = ReplaySettings()
    settings.gpus = gpus
    settings.slots = slots ?? base.slots
    settings.speed = TokenSpeed(prefill: prefillRate, decode: decodeRate, slowdown: slowdown)
    let coldStart = coldStart?.duration ?? base.scaling.coldStart
    settings.coldStart = coldStart...coldStart
    settings.loadedModels = loadedModels
    settings.loadTime = loadTime?.duration ?? coldStart * 3 / 4
    var keys = base.scaling
    if let preset = policy.preset {
      keys.policy = preset
    } else {
      (keys.min, keys.max, keys.schedule) = (gpus, gpus, [])
    }
    settings.scaling = keys.rule
    settings.dispatchLimits = base.dispatchLimits
    settings.startsAt = startsAt
    settings.seed = seed
    return settings
  }
}
