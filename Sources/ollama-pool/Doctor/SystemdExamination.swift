import Systemd

/// systemd and its bus.
enum SystemdExamination {
  static func findings(_ version: Result<String, SystemdError>?, _ installation: Installation) -> [Finding] {
    switch version {
    case nil:
      return [
        .warning(
          "systemd", "this machine does not run under systemd: the pool can't be installed as a service here",
          remedy: "`ollama-pool serve` runs it, with child processes as instances")
      ]
    case .success(let version):
      return [.ok("systemd", "\(version) answers on the bus"), service(installation)]
    case .failure(let error):
      return [
        .problem(
          "systemd", "systemd does not answer on the system bus (\(error))",
          remedy: "`systemctl status dbus.socket dbus.service`; install dbus if it is missing"),
        service(installation),
      ]
    }
  }

  private static func service(_ installation: Installation) -> Finding {
    guard let folder = installation.units else {
      return .ok("units", "not installed as a service (`make install`): this is about `ollama-pool serve`")
    }
    return .ok("units", "installed in \(folder)")
  }
}
