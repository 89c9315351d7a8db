import Launching
import Systemd

/// What systemd tells, asked once.
struct SystemdFacts: Sendable {
  /// Nil: this machine does not run under systemd.
  var version: Result<String, SystemdError>?
  /// What the system manager says of Ollama's own service, and a user's own manager; those that are there.
  var ollama: [(status: UnitStatus, isUsers: Bool)] = []
  /// What units of the system manager get, and what the supervisor's unit says itself: "NAME=value" each.
  var managerEnvironment: [String] = []
  var supervisorEnvironment: [String] = []

  private static let patience = Duration.seconds(5)

  static func read() async -> SystemdFacts {
    var facts = SystemdFacts()
    guard ServiceManager.isBooted else { return facts }
    do throws(SystemdError) {
      let bus = try await SystemdBus.connect(deadline: patience)
      facts.version = .success(try await bus.version())
      if let status = try? await bus.unitProperties(OllamaService.unit) {
        facts.ollama.append((status, isUsers: false))
      }
      facts.managerEnvironment = (try? await bus.environment()) ?? []
      let supervisor = try? await bus.unitProperties(Daemon.supervisor.unit)
      facts.supervisorEnvironment = supervisor?.environment ?? []
      await bus.close()
    } catch {
      facts.version = .failure(error)
    }
    // Without a session there is none.
    if Environment["XDG_RUNTIME_DIR"] != nil, let bus = try? await SystemdBus.connect(to: .user, deadline: patience) {
      if let status = try? await bus.unitProperties(OllamaService.unit) { facts.ollama.append((status, isUsers: true)) }
      await bus.close()
    }
    return facts
  }

  /// The store of the system's.
  var installedOllama: OllamaService? { ollama.first { !$0.isUsers }.flatMap { OllamaService($0.status) } }

  var ollamaUnits: [SharingExamination.Unit] {
    ollama.map { status, isUsers in
      let isRunning =
        switch status.state.activeState {
        case .active, .activating, .reloading: true
        default: false
        }
      return SharingExamination.Unit(
        isUsers: isUsers, isRunning: isRunning, isEnabled: status.fileState?.hasPrefix("enabled") ?? false)
    }
  }
}
