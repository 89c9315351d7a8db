/// One way to misbehave.
enum Fault: Sendable, Equatable {
  case slowStart(seconds: Double)
  case neverReady
  case exitAtStart(status: Int)
  case hang
  case loadSeconds(Double)
  case loadForever
  case outOfMemory
  case cpuFallback
  case unsaidCPUFallback
  case crashAtToken(Int)
  case runnerCrashAtToken(Int)
  case stallAtToken(Int)

  static let help = """
      slow-start SECONDS        serves HTTP only then
      never-ready               listens, and never serves HTTP
      exit-at-start [STATUS]    ends at once (status 1)
      hang                      accepts requests and says nothing
      load-seconds SECONDS      every load takes so long
      load-forever              no load ends (but for OLLAMA_LOAD_TIMEOUT)
      out-of-memory             every load fails
      cpu-fallback              works, with no byte in GPU memory
      unsaid-cpu-fallback       the same, while /api/ps says that the models are there
      crash-at-token N          the server dies as an answer gets its Nth token
      runner-crash-at-token N   only the runner dies
      stall-at-token [N]        answers stop there (at once), all else goes on
    """

  /// Reads one fault as ``help`` writes it; nil when it is none.
  init?(_ text: some StringProtocol) {
    let words = text.split(whereSeparator: \.isWhitespace)
    guard let name = words.first, words.count <= 2 else { return nil }
    let number = words.count == 2 ? Double(words[1]) : nil
    guard words.count == 1 || (number.map { $0 >= 0 && $0 <= 1e9 } ?? false) else { return nil }
    switch (name, number) {
    case ("slow-start", let seconds?): self = .slowStart(seconds: seconds)
    case ("never-ready", nil): self = .neverReady
    case ("exit-at-start", _): self = .exitAtStart(status: Int(number ?? 1))
    case ("hang", nil): self = .hang
    case ("load-seconds", let seconds?): self = .loadSeconds(seconds)
    case ("load-forever", nil): self = .loadForever
    case ("out-of-memory", nil): self = .outOfMemory
    case ("cpu-fallback", nil): self = .cpuFallback
    case ("unsaid-cpu-fallback", nil): self = .unsaidCPUFallback
    case ("crash-at-token", let count?): self = .crashAtToken(Int(count))
    case ("runner-crash-at-token", let count?): self = .runnerCrashAtToken(Int(count))
    case ("stall-at-token", _): self = .stallAtToken(Int(number ?? 0))
    default: return nil
    }
  }

  /// Reads lines of faults and keeps those for a server with one of `names`.
  ///
  /// - Parameter complain: gets what is no fault.
  static func parse(_ text: String, names: [String], complain: (String) -> Void) -> [Fault] {
    var faults: [Fault] = []
    for line in text.split(whereSeparator: \.isNewline) {
      var list = line.trimmingBlanks()
      if list.isEmpty || list.hasPrefix("#") { continue }
      if let colon = list.firstIndex(of: ":") {
        var name = list[..<colon].trimmingBlanks()
        if name.hasPrefix("for ") { name = name.dropFirst(4).trimmingBlanks() }
        guard name == "*" || names.contains(String(name)) else { continue }
        list = list[list.index(after: colon)...]
      }
      for part in list.split(separator: ",") {
        if let fault = Fault(part) { faults.append(fault) } else { complain(String(part.trimmingBlanks())) }
      }
    }
    return faults
  }
}

/// The faults in force: those given at start, and those in a file that may change at any time.
final class Faults {
  private let given: String
  private let file: String?
  private var names: [String] = []
  private var fixed: [Fault] = []
  private var fromFile: [Fault] = []
  private var lastSeen: FileVersion?

  init(_ settings: Settings) {
    given = settings.faults
    file = settings.faultsFile
  }

  /// Gives the server the names by which faults find it, once its port is known; without, there are none.
  func use(names: [String]) {
    self.names = names
    lastSeen = nil
    fixed = Fault.parse(given, names: names) { Self.complain($0) }
  }

  /// Those in force now. Costs a `stat` while the file stays as it is.
  var current: [Fault] {
    guard let file else { return fixed }
    guard let version = FileVersion(file) else {
      lastSeen = nil
      return fixed
    }
    if version != lastSeen {
      lastSeen = version
      let text = SmallFile.read(file, limit: 65_536).map { String(decoding: $0, as: UTF8.self) } ?? ""
      fromFile = Fault.parse(text, names: names) { Self.complain($0) }
    }
    return fixed + fromFile
  }

  private static func complain(_ text: String) {
    Log.warn("no such fault, see ollama-simulator serve --help", source: "faults", ["fault": text])
  }
}

extension [Fault] {
  func first<Value>(_ value: (Fault) -> Value?) -> Value? {
    for fault in self { if let value = value(fault) { return value } }
    return nil
  }

  var startDelay: Double? { first { if case .slowStart(let seconds) = $0 { seconds } else { nil } } }
  var exitStatus: Int? { first { if case .exitAtStart(let status) = $0 { status } else { nil } } }
  var loadSeconds: Double? { first { if case .loadSeconds(let seconds) = $0 { seconds } else { nil } } }
  var crashToken: Int? { first { if case .crashAtToken(let count) = $0 { count } else { nil } } }
  var runnerCrashToken: Int? { first { if case .runnerCrashAtToken(let count) = $0 { count } else { nil } } }
  var stallToken: Int? { first { if case .stallAtToken(let count) = $0 { count } else { nil } } }
}
