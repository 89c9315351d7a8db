import Dispatcher
import Glibc
import PoolConfiguration
import Systemd

/// The daemons behind their control sockets, and the ports.
enum SocketExamination {
  static func run(_ sockets: SocketFolder, _ installation: Installation, _ settings: Settings) async -> [Finding] {
    let status = await StatusReader.read(sockets)
    let own = (status.endpoints + [status.metrics].compactMap { $0 }).map(Run.host)
    let inherited = installation.isService ? Preflight.addresses(ofUnit: Preflight.endpointUnit) : []
    let listen = (inherited.isEmpty ? settings.listen : inherited) + [settings.metricsListen].compactMap { $0 }
    return [daemon(.dispatcher, status.dispatcher), daemon(.supervisor, status.supervisor)]
      + listen.map { port($0, isOwn: own.contains("\($0)")) }
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

  private static func port(_ address: ListenAddress, isOwn: Bool) -> Finding {
    if isOwn { return .ok("port", "\(address) is the pool's") }
    switch Binding.attempt(address) {
    case .free: return .ok("port", "\(address) is free")
    case .taken:
      let holder = PortHolder.find(port: address.port)
      if holder?.processID == 1 { return .ok("port", "\(address) is held open by systemd") }
      return .problem(
        "port", "\(address) is held by \(holder?.description ?? "another process")",
        remedy: "\(PortHolder.remedy(against: holder)), or configure another address")
    case .failed(let code):
      return .problem(
        "port", "\(address) can't be had: \(describe(errno: code))", remedy: "configure another address")
    }
  }
}
