import PoolConfiguration

/// What the pool would take over from Ollama's own service, as a configuration file to start from.
///
/// Every key that it writes is one that the pool accepts; what it can't take stands there as a comment, with the
/// reason.
struct OllamaServiceImport {
  /// What systemd says of `ollama.service`.
  struct Service: Equatable {
    /// `NAME=value` each.
    var environment: [String]
    /// Files with more of these, which systemd does not show.
    var environmentFiles: [String] = []
    /// As the unit names it; nil for root.
    var user: String?
    /// The program that it runs.
    var program: String?
  }

  let service: Service
  /// The store that a pool with this configuration has, and what is to be known of it, a line each.
  var store: [String] = []

  var text: String {
    var lines = ["# What the pool takes over from ollama.service. Read it, then put it where the pool reads it:", "#"]
    lines += ["#   /etc/ollama-pool/ollama-pool.d/ollama-service.yaml", ""]
    if !store.isEmpty { lines += store.map { "# \(Self.printable($0))" } + [""] }
    lines += service.environmentFiles.map {
      "# EnvironmentFile=\(Self.printable($0)) is not taken: what it sets, systemd does not show"
    }
    lines += program + user
    var environment: [(name: String, value: String)] = []
    lines += Self.gpus(variables)
    for (name, value) in variables {
      if Self.hasUserInformation(value) {
        lines.append("# \(name) is not taken: a user's name, and maybe a password, is in it: write it yourself")
        continue
      }
      switch Self.rule(name) {
      case .key(let key, let convert):
        lines += Self.entry(key, convert(value), from: name, value)
      case .listen: lines += Self.listen(value)
      case .gpus: break
      case .ignored(let reason): lines.append("# \(name) is not taken: \(reason)")
      case .environment:
        if Self.isSecret(name) {
          lines.append("# \(name) is not taken: it looks like a secret: write it yourself")
        } else if Self.isAccepted("environment: {\(name): \(Self.quoted(value))}") {
          environment.append((name, value))
        } else {
          lines.append("# \(name) is not taken: the pool does not accept it as a variable of instances")
        }
      }
    }
    if !environment.isEmpty {
      lines.append("environment:")
      lines += environment.map { "  \($0.name): \(Self.quoted($0.value))" }
    }
    return Self.checked(lines).joined(separator: "\n") + "\n"
  }

  /// Each key was tried by itself. Where they don't go together none is taken.
  private static func checked(_ lines: [String]) -> [String] {
    guard !isAccepted(lines.joined(separator: "\n")) else { return lines }
    return lines.map { $0.isEmpty || $0.hasPrefix("#") ? $0 : "#\($0)" }
      + ["# These settings don't go together: take those that are wanted, and see `ollama-pool config check`."]
  }

  /// In the order of their names, each once: of several the last counts, as for systemd.
  private var variables: [(name: String, value: String)] {
    var values: [String: String] = [:]
    for entry in service.environment {
      guard let equals = entry.firstIndex(of: "=") else { continue }
      values[String(entry[..<equals])] = String(entry[entry.index(after: equals)...])
    }
    return values.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
  }

  private var program: [String] {
    guard let path = service.program else { return [] }
    let usual = ["/usr/local/bin/ollama", "/usr/bin/ollama", "/opt/ollama/bin/ollama"]
    return usual.contains(path) ? [] : Self.entry("ollama", Self.quoted(path), from: "ExecStart", path)
  }

  private var user: [String] {
    guard let user = service.user, !user.isEmpty, user != "root" else {
      return ["# It runs as root, and the pool's instances never do: see instance_user."]
    }
    // What the pool takes by itself.
    return user == "ollama" ? [] : Self.entry("instance_user", Self.quoted(user), from: "User", user)
  }

  // MARK: Rules

  private enum Rule {
    case key(String, (String) -> String?)
    case listen
    case gpus
    case environment
    case ignored(String)
  }

  private static func rule(_ name: String) -> Rule {
    switch name {
    case "OLLAMA_HOST": .listen
    case "OLLAMA_MODELS": .key("models_path", quoted)
    // 0 leaves the choice to Ollama.
    case "OLLAMA_NUM_PARALLEL": .key("slots") { $0 == "0" ? nil : $0 }
    case "OLLAMA_CONTEXT_LENGTH": .key("context_length") { $0 == "0" ? nil : $0 }
    case "OLLAMA_KEEP_ALIVE": .key("keep_alive") { $0.hasPrefix("-") ? "forever" : quoted($0) }
    case "OLLAMA_MAX_QUEUE": .key("queue.requests") { $0 == "0" ? nil : $0 }
    case "OLLAMA_ORIGINS":
      .key("origins") { "[" + $0.split(separator: ",").map { quoted(String($0)) }.joined(separator: ", ") + "]" }
    case "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES": .gpus
    case "HOME", "PATH": .ignored("instances have their own")
    case "OLLAMA_NOPRUNE": .ignored("the pool knows which instance may tidy the model store up")
    default:
      InstanceEnvironment.remedy(insteadOf: name).map { .ignored("the pool sets it by \($0)") } ?? .environment
    }
  }

  /// A line of the file, or why there is none.
  private static func entry(_ key: String, _ value: String?, from name: String, _ original: String) -> [String] {
    guard let value else { return [] }
    let parts = key.split(separator: ".")
    let lines = parts.count == 2 ? ["\(parts[0]):", "  \(parts[1]): \(value)"] : ["\(key): \(value)"]
    if isAccepted(lines.joined(separator: "\n")) { return lines }
    return ["# \(name)=\(printable(original)) is not taken: \(key) does not accept it"]
  }

  /// An address beyond this machine takes the operator's own word.
  private static func listen(_ value: String) -> [String] {
    var address = value.split(separator: "/").last.map(String.init) ?? ""
    if address.hasPrefix(":") { address = "0.0.0.0" + address }
    let host = address.hasPrefix("[") ? address : address.split(separator: ":").first.map(String.init) ?? ""
    let hasPort = address.hasPrefix("[") ? !address.hasSuffix("]") : address.contains(":")
    if !hasPort { address += ":11434" }
    let line = "listen: [\(quoted(address))]"
    if host == "127.0.0.1" || host == "localhost", address.hasSuffix(":11434") { return [] }
    let socket =
      "# An installed pool listens where its socket says: systemctl edit \(Preflight.endpointUnit), besides this."
    if isAccepted(line) { return [socket, line] }
    guard isAccepted(line + "\nallow_open_listener: true") else {
      return ["# OLLAMA_HOST=\(printable(value)) is not taken: listen does not accept it"]
    }
    return [
      socket,
      "# It listens beyond this machine, without authentication. The pool does so only with both of these lines:",
      "#\(line)", "#allow_open_listener: true",
    ]
  }

  /// Whether it is, or has, a URL such as `http://user:password@proxy:3128`, also without its scheme.
  private static func hasUserInformation(_ value: String) -> Bool {
    value.firstMatch(of: /:\/\/[^\/]*@/) != nil || value.firstMatch(of: /^[^\/@]+:[^\/@]+@/) != nil
  }

  private static func isSecret(_ name: String) -> Bool {
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"].contains { name.uppercased().contains($0) }
  }

  private static func isAccepted(_ text: String) -> Bool {
    (try? ConfigurationReader.read(text: text, name: "import")) != nil
  }

  static func quoted(_ text: String) -> String {
    let escaped = text.unicodeScalars.map { scalar in
      switch scalar {
      case "\"": "\\\""
      case "\\": "\\\\"
      case let control where control.value < 0x20 || control.value == 0x7f: " "
      default: String(scalar)
      }
    }
    return "\"" + escaped.joined() + "\""
  }

  static func printable(_ text: String) -> String { Printable.text(text) }
}
