import Glibc
import Launching
import PoolConfiguration

/// The program that instances run, and its models.
enum OllamaExamination {
  static func run(_ installation: Installation, _ settings: Settings) -> [Finding] {
    [program(settings, installation.isService ? .refused : .allowed), store(installation, settings)]
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

  private static func store(_ installation: Installation, _ settings: Settings) -> Finding {
    guard installation.isService else {
      let own = User(named: User.current)
      let home = Environment["HOME"] ?? own?.home ?? "/"
      let path = settings.modelsPath ?? Environment["OLLAMA_MODELS"] ?? "\(home)/.ollama/models"
      return store(at: path, user: own, isMadeAtStart: settings.modelsPath == nil)
    }
    do throws(LaunchError) {
      let account = try InstanceAccount.resolve(settings.instanceUser)
      let path = settings.modelsPath ?? "\(account.home)/.ollama/models"
      return store(at: path, user: User(named: account.name), isMadeAtStart: settings.modelsPath == nil)
    } catch {
      return .problem("models", error.message, remedy: "`systemd-sysusers`, or correct `instance_user`")
    }
  }

  private static func store(at path: String, user: User?, isMadeAtStart: Bool) -> Finding {
    guard let status = FileStatus(of: path) else {
      let name = user?.name ?? "the instances' user"
      if isMadeAtStart { return .ok("models", "\(path) is not there yet: \(name) makes it at the first start") }
      return .problem(
        "models", "\(path) can't be found", remedy: "`install -d -o \(name) \(path)`, or correct `models_path`")
    }
    guard status.isFolder else {
      return .problem("models", "\(path) is no folder", remedy: "move it away, or correct `models_path`")
    }
    let owner = "owned by \(User.name(of: status.userID)), \(status.permissions)"
    guard let user else { return .ok("models", "\(path), \(owner)") }
    guard status.allows(0o7, userID: user.userID, groups: user.groups) else {
      return .problem(
        "models", "\(path) (\(owner)): \(user.name), which instances run as, can't read and write it",
        remedy: "`chown -R \(user.name) \(path)`, or set `instance_user` to its owner")
    }
    return .ok("models", "\(path), \(owner); instances run as \(user.name)")
  }
}
