package import PoolConfiguration

extension ModelStore {
  /// The store of a pool with these settings on this machine, as it is now.
  ///
  /// - Parameters:
  ///   - asOwnUser: whether instances run as the pool's own user, see ``Launcher/startsAsOwnUser``.
  ///   - environment: the pool's own variables.
  ///   - service: the installed `ollama.service`, see ``OllamaService/find()``.
  /// - Throws: where the user that instances are to run as can't be used.
  /// - Returns: nil where the store has not answered in time, as one on a file server that hangs.
  package static func find(
    for settings: Settings, asOwnUser: Bool, environment: [String: String] = InheritedVariables.own,
    service: OllamaService?, within patience: Duration = .seconds(5)
  ) async throws(LaunchError) -> ModelStore? {
    let (user, home) = try asOwnUser ? own(settings) : account(settings)
    let path = settings.modelsPath
    return await Patience.files.answer(about: "store \(path ?? home)", within: patience) {
      resolve(
        setting: path, user: user, home: home, environment: environment, service: service, makesFolders: asOwnUser)
    }
  }

  /// The same of a pool with this launcher, beside the `ollama.service` that there is.
  ///
  /// - Throws: also where systemd or the store does not answer: then nothing is known of it.
  package static func find(for settings: Settings, by launcher: any Launcher) async throws(LaunchError) -> ModelStore {
    let service: OllamaService?
    if launcher is ChildLauncher {
      // It is for machines whose systemd is nobody's affair.
      service = (try? await OllamaService.find()) ?? nil
    } else {
      service = try await OllamaService.find()
    }
    if let store = try await find(for: settings, asOwnUser: launcher.startsAsOwnUser, service: service) { return store }
    let path = settings.modelsPath.map { " \($0)" } ?? ""
    throw LaunchError(
      .timedOut, "the model store\(path) does not answer: look after the file server that it is on")
  }

  private static func own(_ settings: Settings) throws(LaunchError) -> (User, home: String) {
    let home = try OwnAccount.home(ifNotAskedFor: settings.instanceUser)
    return (.own, home: settings.environment["HOME"] ?? home)
  }

  private static func account(_ settings: Settings) throws(LaunchError) -> (User, home: String) {
    let account = try InstanceAccount.resolve(settings.instanceUser)
    guard let user = User(named: account.name) else {
      throw LaunchError(.unusableUser, "user \(account.name), which instances run as, is gone: create it again")
    }
    return (user, home: settings.environment["HOME"] ?? account.home)
  }
}
