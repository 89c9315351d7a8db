import Launching
import PoolConfiguration
import Systemd

extension OllamaServiceImport {
  /// The import of the service that this machine has: the system's, or else that of the user's own manager.
  static func read() async throws(CommandFailure) -> OllamaServiceImport {
    let facts = await SystemdFacts.read()
    let remedy = "begin with `ollama-pool config show`, which prints the defaults"
    let unit = OllamaService.unit
    guard let found = facts.ollama.first else {
      switch facts.version {
      case nil:
        throw CommandFailure(
          "there is no \(unit) to import: this machine does not run under systemd", remedy: remedy)
      case .failure(let error):
        throw CommandFailure(
          "systemd does not say whether there is a \(unit) (\(error))",
          remedy: "`systemctl status dbus.socket dbus.service`")
      case .success: throw CommandFailure("there is no \(unit) on this machine to import", remedy: remedy)
      }
    }
    guard found.status.program != nil else {
      throw CommandFailure(
        "\(unit) runs nothing\(found.status.fileState == "masked" ? ": it is masked" : "")",
        remedy: "`\(found.isUsers ? "systemctl --user" : "systemctl") cat \(unit)` shows what is wrong with it")
    }
    var imported = OllamaServiceImport(service: Service(found.status, isUsers: found.isUsers))
    imported.store = await store(of: imported, facts)
    return imported
  }

  /// What a pool with this configuration would find here.
  private static func store(of imported: OllamaServiceImport, _ facts: SystemdFacts) async -> [String] {
    guard let settings = try? ConfigurationReader.read(text: imported.text, name: "import").settings,
      let user = try? InstancesUser.find(.current, settings),
      let found = try? await ModelStore.find(
        for: settings, asOwnUser: user.isOwn, environment: [:], service: facts.installedOllama)
    else { return ["Where its models would be can't be told here: `ollama-pool doctor` shows it, and why."] }
    return ["The models of the pool: \(found.description)."]
      + [found.refusal.map { "\($0)." }, found.passedOver.map { "Another store is not used: \($0)." }].compactMap(
        \.self)
  }
}

extension OllamaServiceImport.Service {
  fileprivate init(_ status: UnitStatus, isUsers: Bool) {
    self.init(
      environment: status.environment, environmentFiles: status.environmentFiles,
      user: isUsers ? User.current : status.user, program: status.program)
  }
}
