import ControlInterface
import PoolConfiguration

/// The daemons behind their control sockets, and the ports.
enum SocketExamination {
  static func run(_ sockets: SocketFolder, _ installation: Installation, _ settings: Settings) async -> [Finding] {
    let status = await StatusReader.read(sockets)
    return [daemon(.dispatcher, status.dispatcher), daemon(.supervisor, status.supervisor)]
  }

  private static func daemon(_ daemon: Daemon, _ state: PoolStatus.DaemonState) -> Finding {
    guard let error = state.error else {
      let version = state.version ?? "?"
      guard version == Version.current else {
        return .warning(
          daemon.rawValue, "it runs version \(version), and this is \(Version.current)",
          remedy: "`systemctl restart \(daemon.unit)`: no request is cut")
      }
      return .ok(daemon.rawValue, "answers at \(state.socket) (process \(state.processID.map { "\($0)" } ?? "?"))")
    }
    // The line says both what is wrong and, after the colon, what helps.
    let parts = error.split(separator: ": ", maxSplits: 1)
    return .problem(
      daemon.rawValue, String(parts.first ?? ""), remedy: parts.count > 1 ? String(parts[1]) : "see `ollama-pool logs`")
  }
}
