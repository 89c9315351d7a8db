import Dispatcher
import Launching
import PoolConfiguration

/// What `serve` says once it serves: where, with what, and what to type next.
struct Welcome {
  /// Any model's name does for the simulator, and Ollama pulls this one when it is asked to run it.
  private static let model = "llama3.2"

  let pool: WholePool
  let settings: Settings
  /// Whether the command line finds the sockets by itself.
  let isInUsualPlace: Bool
  let sockets: String

  var text: String {
    let endpoint = pool.dispatcher.endpoints.first ?? ""
    let status = [CommandLine.arguments[0], "status"] + (isInUsualPlace ? [] : ["--socket", sockets])
    var lines = ["ollama-pool \(Version.current) serves at \(pool.dispatcher.endpoints.joined(separator: ", "))"]
    lines += moved
    lines.append(program)
    lines.append("Instances are \(pool.launching).")
    lines += ["", "Try it, in another terminal:"]
    if pool.program?.kind == .ollama {
      lines.append("  OLLAMA_HOST=\(Run.host(of: endpoint)) ollama run \(Self.model)")
    }
    lines += [
      "  curl \(endpoint)/api/generate -d '{\"model\":\"\(Self.model)\",\"prompt\":\"Why is the sky blue?\"}'",
      "  " + ShellText.line(status),
    ]
    if let metrics = pool.dispatcher.metricsEndpoint { lines.append("  curl \(metrics)") }
    return (lines + ["", "Ctrl-C stops the pool once running requests have ended."]).joined(separator: "\n")
  }

  /// What was asked for, where another port had to be taken.
  private var moved: [String] {
    zip(settings.listen, pool.dispatcher.endpoints).compactMap { wanted, got in
      guard wanted.port != 0, !got.hasSuffix(":\(wanted.port)") else { return nil }
      let holder = PortHolder.describe(port: wanted.port) ?? "another process"
      return "Port \(wanted.port) is taken by \(holder): this pool uses the next free one."
    }
  }

  private var program: String {
    guard let program = pool.program else {
      return "There is nothing to run: see `ollama-pool status` for the reason."
    }
    switch program.kind {
    case .ollama: return "Models are run by \(program.path)."
    case .simulator where settings.ollama != nil:
      return "The configuration names \(program.path), a stand-in for Ollama: its answers are made up."
    case .simulator:
      return """
        No `ollama` is installed (https://ollama.com/download), so \(program.path) stands in for it: its answers are \
        made up.
        """
    }
  }
}
