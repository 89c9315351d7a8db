import Dispatch
package import PoolConfiguration
import Synchronization

extension ModelStore {
  /// The store of a pool with these settings on this machine, as it is now.
  ///
  /// A file server that does not answer holds up whoever looks, for as long as it likes: a thread then waits for it
  /// beyond `patience`, so ask again only now and then.
  /// - Parameters:
  ///   - asOwnUser: whether instances run as the pool's own user, see ``Launcher/startsAsOwnUser``.
  ///   - service: the installed `ollama.service`, see ``OllamaService/find()``.
  /// - Throws: where the user that instances are to run as can't be used.
  /// - Returns: nil where the store has not answered in time.
  package static func find(
    for settings: Settings, asOwnUser: Bool, service: OllamaService?, within patience: Duration = .seconds(5)
  ) async throws(LaunchError) -> ModelStore? {
    let (user, home) = try asOwnUser ? own(settings) : account(settings)
    let path = settings.modelsPath
    let waiter = Waiter()
    DispatchQueue.global().async {
      waiter.finish(resolve(setting: path, user: user, home: home, service: service, makesFolders: asOwnUser))
    }
    let nanoseconds = Int(patience / .nanoseconds(1))
    DispatchQueue.global().asyncAfter(deadline: .now() + .nanoseconds(nanoseconds)) { waiter.finish(nil) }
    return await waiter.value
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

  /// Takes the first of two answers.
  private final class Waiter: Sendable {
    private enum State {
      case open
      case awaited(CheckedContinuation<ModelStore?, Never>)
      case finished(ModelStore?)
    }

    private let state = Mutex(State.open)

    func finish(_ store: ModelStore?) {
      let continuation: CheckedContinuation<ModelStore?, Never>? = state.withLock { state in
        switch state {
        case .finished: return nil
        case .open:
          state = .finished(store)
          return nil
        case .awaited(let continuation):
          state = .finished(store)
          return continuation
        }
      }
      continuation?.resume(returning: store)
    }

    var value: ModelStore? {
      get async {
        await withCheckedContinuation { continuation in
          let early: ModelStore?? = state.withLock { state in
            if case .finished(let store) = state { return .some(store) }
            state = .awaited(continuation)
            return .none
          }
          if let early { continuation.resume(returning: early) }
        }
      }
    }
  }
}
