package import Systemd

/// What an installed `ollama.service` says about its models.
package struct OllamaService: Equatable, Sendable {
  package static let unit = "ollama.service"

  /// The user that it runs as.
  package var user: String
  package var modelsPath: String

  package init(user: String, modelsPath: String) {
    self.user = user
    self.modelsPath = modelsPath
  }

  /// - Returns: nil where there is no such unit, its user does not exist, or systemd does not answer. (systemd loads a
  ///   unit that is asked for, also one that does not run. Variables from an EnvironmentFile= are not seen.)
  package static func find(by bus: SystemdBus) async -> OllamaService? {
    guard let status = try? await bus.unitProperties(unit) else { return nil }
    return OllamaService(status)
  }

  /// The same with a connection of its own.
  package static func find() async -> OllamaService? {
    guard ServiceManager.isBooted, let bus = try? await SystemdBus.connect(deadline: .seconds(5)) else { return nil }
    let service = await find(by: bus)
    await bus.close()
    return service
  }

  /// nil where its user does not exist.
  package init?(_ status: UnitStatus) {
    func value(_ name: String) -> String? {
      status.environment.last { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.utf8.count + 1)) }
    }
    let user = User(named: status.user ?? "root")
    // Where a unit is made up by its package, its user may be dynamic and exist while it runs only.
    guard let name = user?.name ?? status.user else { return nil }
    let home = value("HOME") ?? user?.home
    guard let path = value("OLLAMA_MODELS") ?? home.map(ModelStore.usualPath), path.hasPrefix("/") else { return nil }
    self.init(user: name, modelsPath: path)
  }
}
