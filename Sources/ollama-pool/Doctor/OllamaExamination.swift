import Launching
import PoolConfiguration

/// The program that instances run.
enum OllamaExamination {
  static func run(_ installation: Installation, _ settings: Settings) -> Finding {
    program(settings, installation.isService ? .refused : .allowed)
  }

  private static func program(_ settings: Settings, _ standIns: StandIns) -> Finding {
    let found: OllamaExecutable
    do throws(LaunchError) {
      found = try OllamaExecutable.find(setting: settings.ollama, standIns)
    } catch {
      return .problem(
        "ollama", error.message, remedy: "install it (https://ollama.com/download), or correct the key `ollama`")
    }
    guard found.kind == .ollama else {
      return settings.ollama == nil
        ? .warning(
          "ollama", "there is none; \(found.path) stands in for it, with answers that are made up",
          remedy: "install it: https://ollama.com/download")
        : .warning(
          "ollama", "the configuration names \(found.path), a stand-in whose answers are made up",
          remedy: "take the key `ollama` out of the configuration, or name Ollama's own program")
    }
    guard let version = version(of: found.path) else {
      return .problem("ollama", "\(found.path) does not tell its version", remedy: "run `\(found.path) --version`")
    }
    return .ok("ollama", "\(found.path), version \(version)")
  }

  /// It asks a server for its version first: this one isn't there.
  private static func version(of path: String) -> String? {
    let text = Execution.output(of: [path, "--version"], variables: ["OLLAMA_HOST": "127.0.0.1:1"])
    let line = text?.split(separator: "\n").last { $0.contains("version is ") }
    return line.flatMap { $0.split(separator: " ").last.map(String.init) }
  }
}
