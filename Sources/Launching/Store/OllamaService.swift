package import Systemd

/// What an installed `ollama.service` says about its models.
package struct OllamaService: Equatable, Sendable {
  package static let unit = "ollama.service"

  /// The user that it runs as.
  package var user: String
  package var modelsPath: String
  /// Whether it runs, or is on its way.
  package var isActive: Bool

  package init(user: String, modelsPath: String, isActive: Bool = false) {
    self.user = user
    self.modelsPath = modelsPath
    self.isActive = isActive
  }

  /// - Returns: nil where there is no such unit, or its user does not exist. (systemd loads a unit that is asked for,
  ///   also one that does not run. Variables from an EnvironmentFile= are not seen.)
  /// - Throws: where systemd does not answer, which says nothing of the unit.
  package static func find(by bus: SystemdBus) async throws(SystemdError) -> OllamaService? {
    do throws(SystemdError) {
      return OllamaService(try await bus.unitProperties(unit))
    } catch {
      guard error.code == .noSuchUnit else { throw error }
      return nil
    }
  }

  /// The same with a connection of its own, which nothing is known by where this machine was booted without systemd.
  package static func find() async throws(LaunchError) -> OllamaService? {
    guard ServiceManager.isBooted else { return nil }
    do throws(SystemdError) {
      let bus = try await SystemdBus.connect(deadline: .seconds(5))
      let found: Result<OllamaService?, SystemdError>
      do throws(SystemdError) { found = .success(try await find(by: bus)) } catch { found = .failure(error) }
      await bus.close()
      return try found.get()
    } catch {
      throw LaunchError(
        .unavailable, "whether there is an \(unit) is not known: \(error.description); see `systemctl status dbus`")
    }
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
    self.init(user: name, modelsPath: path, isActive: !status.state.hasEnded)
  }
}
