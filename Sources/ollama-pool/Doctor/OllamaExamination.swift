import Glibc
import Launching
import PoolConfiguration

/// The program that instances run, and its models.
enum OllamaExamination {
  static func run(_ installation: Installation, _ settings: Settings) async -> [Finding] {
    [program(settings, installation.isService ? .refused : .allowed)] + (await stores(installation, settings))
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

  // MARK: The model store

  private static func stores(_ installation: Installation, _ settings: Settings) async -> [Finding] {
    let store: ModelStore?
    do throws(LaunchError) {
      let service = await OllamaService.find()
      store = try await ModelStore.find(for: settings, asOwnUser: !installation.isService, service: service)
    } catch {
      return [.problem("models", error.message, remedy: "`systemd-sysusers`, or correct `instance_user`")]
    }
    guard let store else {
      return [
        .problem(
          "models", "the model store does not answer" + (settings.modelsPath.map { ": \($0)" } ?? ""),
          remedy: "look after the file server that it is on")
      ]
    }
    let user = installation.isService ? InstanceAccount.name(settings.instanceUser) : User.current
    return [finding(store, user)] + passedOver(store)
  }

  private static func finding(_ store: ModelStore, _ user: String) -> Finding {
    if let refusal = store.refusal {
      return store.isReadable
        ? .warning("models", "\(refusal.problem), so nothing can be pulled", remedy: refusal.remedy)
        : .problem("models", refusal.problem, remedy: refusal.remedy)
    }
    guard store.exists else {
      return .ok("models", "\(store.path) is not there yet: \(user) makes it at the first start")
    }
    return .ok("models", "\(store.description); instances run as \(user)")
  }

  private static func passedOver(_ store: ModelStore) -> [Finding] {
    store.passedOver.map { [.ok("models", "another store is not used: \($0)")] } ?? []
  }
}
