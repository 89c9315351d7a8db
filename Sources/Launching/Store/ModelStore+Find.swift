package import PoolConfiguration

extension ModelStore {
  /// The store of a pool with these settings on this machine, as it is now.
  ///
  /// A file server that does not answer holds up whoever looks, for as long as it likes: a thread then waits for it
  /// beyond `patience`, so ask again only now and then.
  /// - Parameters:
  ///   - asOwnUser: whether instances run as the pool's own user, see ``Launcher/startsAsOwnUser``.
  ///   - environment: the pool's own variables.
  ///   - service: the installed `ollama.service`, see ``OllamaService/find()``.
  /// - Throws: where the user that instances are to run as can't be used.
  /// - Returns: nil where the store has not answered in time.
  package static func find(
    for settings: Settings, asOwnUser: Bool, environment: [String: String] = InheritedVariables.own,
    service: OllamaService?, within patience: Duration = .seconds(5)
  ) async throws(LaunchError) -> ModelStore? {
    let (user, home) = try asOwnUser ? own(settings) : account(settings)
    let path = settings.modelsPath
    return await Patience.answer(within: patience) {
      resolve(
        setting: path, user: user, home: home, environment: environment, service: service, makesFolders: asOwnUser)
    }
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
