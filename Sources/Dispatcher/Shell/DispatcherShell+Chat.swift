import Chat
import Gateway
import OrderedCollections
import PoolConfiguration
import PoolCore
import QueueStore

extension DispatcherShell {
  /// Takes up what outlived the dispatcher before this one. Before anybody is let in.
  func begin(with state: DurableState, settings: Settings, _ gateway: Gateway) {
    for key in state.stored.keys where key.revokedAt == nil { access.add(AccessControl.IssuedKey(key)) }
    takeUpUsage(state.stored.usage)
    history.limits = settings.history.limits
    switch state.history {
    case .success(let file): keepHistory(in: file, secret: state.secret)
    case .failure(let error): tell(.storeFailed(problem: "\(error)"))
    case nil: break
    }
    let chat = Chat(
      gateway: gateway, pool: self, store: state.store, secret: state.secret, settings: settings.chat,
      sources: settings.sources, stored: state.stored)
    self.chat = chat
    chat.restore(state.stored.requests)
  }
}

extension AccessControl.IssuedKey {
  init(_ key: StoredKey) {
    self.init(
      id: key.id, hash: key.hash, createdAt: key.createdAt,
      grant: AccessRules.KeyGrant(
        id: key.id, name: key.name, role: key.role == .administrator ? .administrator : .user,
        className: key.className, limits: key.limits))
  }
}

/// What the chat asks.
extension DispatcherShell: ChatPool {
  var now: Instant { .now }

  var hasInstance: Bool { core.instances.values.contains(where: \.isInRotation) }

  func suspend(_ id: RequestID) {
    let tokens = carried[id]?.exchange.answerTokens ?? 0
    apply { core, now in core.suspend(id, tokens: tokens, at: now) ?? [] }
  }

  func resume(_ id: RequestID) { apply { core, now in core.resume(id, at: now) ?? [] } }

  func caller(withKey text: String) -> Caller? { access.key(text).map { access.rules.caller($0.grant) } }

  func caller(_ user: UserID, className: String, keyID: String?) -> Caller {
    access.caller(user, className: className, keyID: keyID)
  }

  func share(of caller: Caller) -> DispatchRequest.Share { access.renewed(caller).share }

  func cameByHTTPS(_ exchange: Exchange) -> Bool { access.saysHTTPS(exchange.headers, from: exchange.peerAddress) }

  func storeFailed(_ problem: String) { tell(.storeFailed(problem: problem)) }
  func sourcesFailed(_ problem: String) { tell(.sourcesFailed(problem: problem)) }
}
