import PoolConfiguration

/// All that `doctor` looks at, in the order in which things depend on each other.
struct Examination {
  /// Where the configuration is read from; nil: the usual place.
  var configurationPath: String?
  var sockets: SocketFolder

  func findings() async -> [Finding] {
    let settings: Settings
    var findings: [Finding] = []
    do throws(ConfigurationError) {
      let loaded = try ConfigurationReader.read(path: configurationPath)
      settings = loaded.settings
      let files = loaded.files.isEmpty ? "no file: all by default" : loaded.files.joined(separator: ", ")
      findings.append(.ok("configuration", files))
    } catch {
      settings = Settings()
      findings.append(
        .problem(
          "configuration", error.problems.first.map { "\($0)" } ?? "it is wrong",
          remedy:
            "correct it, or look as root if it is closed to you; `ollama-pool config check` shows all that is wrong"
        ))
    }
    let installation = Installation.current
    findings += await SystemdExamination.run(installation)
    findings += UserExamination.run(installation, settings)
    findings += await OllamaExamination.run(installation, settings)
    findings += GPUExamination.run(settings)
    findings += await SocketExamination.run(sockets, installation, settings)
    return findings
  }
}

/// Whether the pool is a service of this machine, or something that its user runs.
struct Installation {
  /// The folder of its units; nil if they are not installed.
  var units: String?

  var isService: Bool { units != nil }

  static var current: Installation {
    let folders = ["/etc", "/usr/local/lib", "/usr/lib", "/lib"].map { "\($0)/systemd/system" }
    return Installation(units: folders.first { FileStatus(of: "\($0)/\(Daemon.dispatcher.unit)") != nil })
  }
}
