import PoolCore

/// What a server was told, by Ollama's variables and by the simulator's own.
struct Settings: Sendable {
  let host: String
  let port: Int
  let modelsFolder: String
  let home: String
  /// Answers at once per loaded model.
  let parallel: Int
  /// Requests that wait for a load, beside the one being loaded.
  let maxQueue: Int
  /// 0 is three for each GPU.
  let maxLoadedModels: Int
  let keepAlive: KeepAlive
  /// Seconds; nil is endless.
  let loadTimeout: Double?
  /// Tokens.
  let contextLength: Int
  let origins: [String]
  let devices: Devices
  let logsRequests: Bool
  let behaviour: Behaviour
  /// The name of this server in faults, beside its port.
  let instance: String?
  let faults: String
  let faultsFile: String?
  /// The real path of the folder of simulated GPUs; nil: memory is without end.
  let gpuFolder: String?

  /// How fast things go.
  struct Behaviour: Sendable {
    var tokens = 32
    /// Of one answer alone.
    var tokensPerSecond = 60.0
    /// How much longer a token takes with each further answer that is made.
    var slowdown = 1.0
    var firstTokenSeconds = 0.05
    /// Tokens of a question a second, beside these; 0 is without limit.
    var promptTokensPerSecond = 0.0
    var loadSeconds = 0.5
    /// By the models' keys.
    var loadSecondsByModel: [String: Double] = [:]
    var discoverySeconds = 0.1
    var pullSeconds = 0.5
    var seed: UInt64 = 1
  }

  /// - Parameter options: by the names of their variables without OLLAMA_SIMULATOR_; they win over these.
  init(environment: [String: String], options: [String: String]) throws(SimulatorError) {
    func own(_ name: String) -> String? { options[name] ?? environment["OLLAMA_SIMULATOR_\(name)"] }
    guard let home = environment["HOME"], !home.isEmpty else { throw SimulatorError("$HOME is not defined") }
    self.home = home
    let address = options["HOST"] ?? environment["OLLAMA_HOST"] ?? ""
    (host, port) = try Self.address(address)
    let models = options["MODELS"] ?? environment["OLLAMA_MODELS"] ?? ""
    modelsFolder = models.isEmpty ? home + "/.ollama/models" : models
    // Ollama falls back to the default where a variable makes no sense, with a line in the log.
    func count(_ name: String, default value: Int) -> Int {
      guard let text = environment[name], !text.isEmpty else { return value }
      if let number = Int(text), number >= 0 { return number }
      Log.warn("invalid environment variable, using default", source: "config.go", ["key": name, "value": text])
      return value
    }
    parallel = max(1, count("OLLAMA_NUM_PARALLEL", default: 1))
    maxQueue = count("OLLAMA_MAX_QUEUE", default: 512)
    maxLoadedModels = count("OLLAMA_MAX_LOADED_MODELS", default: 0)
    contextLength = max(1, count("OLLAMA_CONTEXT_LENGTH", default: 4096))
    keepAlive = environment["OLLAMA_KEEP_ALIVE"].flatMap(KeepAlive.init(text:)) ?? .seconds(300)
    switch environment["OLLAMA_LOAD_TIMEOUT"].flatMap(KeepAlive.init(text:)) ?? .seconds(300) {
    case .seconds(let seconds) where seconds > 0: loadTimeout = seconds
    default: loadTimeout = nil
    }
    origins = (environment["OLLAMA_ORIGINS"] ?? "").split(separator: ",").map { String($0.trimmingBlanks()) }
    devices = Devices(environment: environment)
    logsRequests = ["1", "true", "2"].contains(environment["OLLAMA_DEBUG"]?.lowercased() ?? "")
    instance = environment["POOL_INSTANCE"]
    faults = own("FAULT") ?? ""
    faultsFile = own("FAULTS").flatMap { $0.isEmpty ? nil : $0 }
    behaviour = try Behaviour(own)
    gpuFolder = try own("GPUS").flatMap { folder throws(SimulatorError) in
      folder.isEmpty ? nil : try RealFolder.path(folder)
    }
  }

  /// Reads OLLAMA_HOST: `host`, `host:port`, `:port`, with or without a scheme.
  private static func address(_ text: String) throws(SimulatorError) -> (String, Int) {
    var rest = text.trimmingBlanks()
    if let scheme = rest.firstRange(of: "://") { rest = rest[scheme.upperBound...] }
    rest = rest.prefix { $0 != "/" }
    var host = rest
    var port = 11434
    if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]"),
      rest.hasPrefix("[") || !rest[..<colon].contains(":")
    {
      host = rest[..<colon]
      guard let number = Int(rest[rest.index(after: colon)...]), (0...65_535).contains(number) else {
        throw SimulatorError("invalid port in OLLAMA_HOST '\(text)': expected a number from 0 to 65535")
      }
      port = number
    }
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    return (host.isEmpty ? "127.0.0.1" : String(host), port)
  }
}

extension Settings.Behaviour {
  /// In seconds: a timer's nanoseconds have an end.
  private static let longest = 1e9

  /// Between two tokens of each of so many answers that are made at once.
  func secondsPerToken(active: Int) -> Double {
    guard tokensPerSecond > 0 else { return 0 }
    return min((1 + slowdown * Double(max(0, active - 1))) / tokensPerSecond, Self.longest)
  }

  /// From a slot to the answer's first token.
  func secondsToFirstToken(promptTokens: Int) -> Double {
    guard promptTokensPerSecond > 0 else { return min(firstTokenSeconds, Self.longest) }
    return min(firstTokenSeconds + Double(promptTokens) / promptTokensPerSecond, Self.longest)
  }

  init(_ value: (String) -> String?) throws(SimulatorError) {
    func number(_ name: String, default fallback: Double) throws(SimulatorError) -> Double {
      guard let text = value(name), !text.isEmpty else { return fallback }
      return try Self.number(text, name)
    }
    tokens = Int(min(try number("TOKENS", default: 32), 1e9))
    tokensPerSecond = try number("TOKENS_PER_SECOND", default: 60)
    slowdown = try number("SLOWDOWN", default: 1)
    firstTokenSeconds = try number("FIRST_TOKEN_SECONDS", default: 0.05)
    promptTokensPerSecond = try number("PROMPT_TOKENS_PER_SECOND", default: 0)
    discoverySeconds = try number("DISCOVERY_SECONDS", default: 0.1)
    pullSeconds = try number("PULL_SECONDS", default: 0.5)
    seed = UInt64(min(try number("SEED", default: 1), 1e15))
    for part in (value("LOAD_SECONDS") ?? "").split(separator: ",") {
      let pair = part.split(separator: "=", maxSplits: 1)
      if pair.count == 2 {
        let model = ModelName.key(of: String(pair[0].trimmingBlanks()))
        loadSecondsByModel[model] = try Self.number(String(pair[1]), "LOAD_SECONDS")
      } else {
        loadSeconds = try Self.number(String(part), "LOAD_SECONDS")
      }
    }
  }

  private static func number(_ text: String, _ name: String) throws(SimulatorError) -> Double {
    guard let number = Double(text.trimmingBlanks()), number.isFinite, number >= 0, number <= 1e15 else {
      throw SimulatorError("invalid OLLAMA_SIMULATOR_\(name) '\(text)': expected a number that is not negative")
    }
    return number
  }
}

extension StringProtocol {
  /// Without blanks at both ends.
  func trimmingBlanks() -> SubSequence {
    var rest = self[...]
    while let first = rest.first, first.isWhitespace { rest = rest.dropFirst() }
    while let last = rest.last, last.isWhitespace { rest = rest.dropLast() }
    return rest
  }
}
