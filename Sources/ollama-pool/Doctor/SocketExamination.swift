import PoolConfiguration

/// The daemons behind their control sockets, and where they listen.
enum SocketExamination {
  static func findings(_ status: PoolStatus) -> [Finding] {
    [daemon(.dispatcher, status.dispatcher), daemon(.supervisor, status.supervisor)]
  }

  /// Addresses of the pool that runs.
  static func own(_ status: PoolStatus) -> [String] {
    (status.endpoints + [status.metrics].compactMap { $0 }).map(Run.host)
  }

  /// Where it listens, or would.
  static func listen(_ installation: Installation, _ settings: Settings) -> [ListenAddress] {
    let inherited = installation.isService ? Preflight.addresses(ofUnit: Preflight.endpointUnit) : []
    return (inherited.isEmpty ? settings.listen : inherited) + [settings.metricsListen].compactMap { $0 }
  }

  private static func daemon(_ daemon: Daemon, _ state: PoolStatus.DaemonState) -> Finding {
    guard let failure = state.failure else {
      let version = state.version ?? "?"
      guard version == Version.current else {
        return .warning(
          daemon.rawValue, "it runs version \(version), and this is \(Version.current)",
          remedy: "`systemctl restart \(daemon.unit)`, once running requests may be let end")
      }
      return .ok(daemon.rawValue, "answers at \(state.socket) (process \(state.processID.map { "\($0)" } ?? "?"))")
    }
    return .problem(daemon.rawValue, failure.what, remedy: failure.remedy ?? "see `ollama-pool logs`")
  }
}
