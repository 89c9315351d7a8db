import Systemd

/// systemd, its bus, and an Ollama that runs beside the pool.
enum SystemdExamination {
  private static let ollamaUnit = "ollama.service"

  static func run(_ installation: Installation) async -> [Finding] {
    guard ServiceManager.isBooted else {
      return [
        .warning(
          "systemd", "this machine does not run under systemd: the pool can't be installed as a service here",
          remedy: "`ollama-pool serve` runs it, with child processes as instances")
      ]
    }
    do throws(SystemdError) {
      let bus = try await SystemdBus.connect(deadline: .seconds(5))
      let version = try await bus.version()
      let other = await foreignOllama(bus)
      await bus.close()
      return [.ok("systemd", "\(version) answers on the bus"), service(installation), other]
    } catch {
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

  /// Ollama's own service holds the port, and GPU memory that the pool counts on.
  private static func foreignOllama(_ bus: SystemdBus) async -> Finding {
    let state: UnitState
    do throws(SystemdError) {
      state = try await bus.unitProperties(ollamaUnit).state
    } catch {
      return .ok(ollamaUnit, "there is none beside the pool")
    }
    switch state.activeState {
    case .active, .activating, .reloading:
      return .problem(
        ollamaUnit, "Ollama's own service runs, and takes the port and the GPUs that the pool needs",
        remedy: "`systemctl disable --now \(ollamaUnit)`; its models stay, and the pool finds them")
    default:
      return .ok(ollamaUnit, "Ollama's own service is installed and does not run")
    }
  }
}
