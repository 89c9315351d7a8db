import ControlInterface
import Credentials
import NIOCore
import PoolCore
import QueueStore
import Varlink

/// API keys: written down before they are told, and in force from then on.
extension DispatcherShell {
  var keys: [DispatcherTypes.Key] {
    let now = WallTime.now
    return access.keys.map { key in
      DispatcherTypes.Key(
        key.grant, access.rules.caller(key.grant),
        createdSecondsAgo: max(0, Double(now.milliseconds - key.createdAt.milliseconds) / 1000))
    }
  }

  func addKey(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    let order = try checked(try call.parameters(as: DispatcherCalls.AddKey.self))
    let key = APIKey()
    let stored = StoredKey(
      id: Self.newKeyID, name: order.name, hash: key.hash,
      role: order.role == .administrator ? .administrator : .user, className: order.class,
      limits: UserLimits(
        requestsPerHour: order.requestsPerHour, tokensPerHour: order.tokensPerHour, concurrent: order.concurrent,
        waiting: order.waiting),
      createdAt: nextKeyTime)
    store.add(stored).assumeIsolated().whenComplete { [self] added in
      switch added {
      case .success:
        let issued = AccessControl.IssuedKey(stored)
        access.add(issued)
        tell(.keyAdded(facts(of: issued), byUserID: call.peer.userID))
        call.reply(DispatcherCalls.AddKeyReply(id: stored.id, key: key.text))
      case .failure(let error as QueueStoreError) where error.code == .conflict:
        call.fail(.keyNameTaken(order.name))
      case .failure(let error): notStored(error, call)
      }
    }
  }

  func revokeKey(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    let word = try call.parameters(as: DispatcherCalls.RevokeKey.self).key
    guard let key = access.key(idOrName: word) else { throw .noSuchKey(word) }
    store.revokeKey(key.id, at: .now).assumeIsolated().whenComplete { [self] revoked in
      switch revoked {
      case .success:
        access.remove(keyID: key.id)
        tell(.keyRevoked(facts(of: key), byUserID: call.peer.userID))
        call.reply(DispatcherCalls.RevokeKeyReply(id: key.id, name: key.grant.name))
      // Another order came first.
      case .failure(let error as QueueStoreError) where error.code == .missing: call.fail(.noSuchKey(word))
      case .failure(let error): notStored(error, call)
      }
    }
  }

  private func checked(_ order: DispatcherCalls.AddKey) throws(VarlinkErrorReply) -> DispatcherCalls.AddKey {
    guard DispatcherCalls.AddKey.isName(order.name) else { throw .invalidParameter("name") }
    for (name, limit) in order.namedLimits {
      guard limit.map(DispatcherCalls.AddKey.limits.contains) ?? true else { throw .invalidParameter(name) }
    }
    if let className = order.class, access.rules.classes[className] == nil {
      let known = access.rules.classes.keys.sorted()
      throw VarlinkErrorReply(
        ControlError.unknownClass, ["class": .string(className), "known": .array(known.map { .string($0) })])
    }
    // A name that is another key's id would leave open which of them is meant.
    guard access.key(idOrName: order.name) == nil else { throw .keyNameTaken(order.name) }
    guard access.keys.count < DispatcherCalls.AddKey.mostKeys else {
      throw VarlinkErrorReply(ControlError.tooManyKeys, ["most": .integer(Int64(DispatcherCalls.AddKey.mostKeys))])
    }
    return order
  }

  /// After all others, also within a millisecond and where the clock was set back: keys are listed in this order.
  private var nextKeyTime: WallTime {
    let last = access.keys.last?.createdAt.milliseconds ?? .min
    return max(.now, WallTime(milliseconds: last == .max ? last : last + 1))
  }

  /// Short, and fit for a command line: it lets nobody in.
  private static var newKeyID: String { String(UInt64.random(in: .min ... .max), radix: 16) }

  private func facts(of key: AccessControl.IssuedKey) -> KeyFacts {
    KeyFacts(
      id: key.id, name: key.grant.name, role: key.grant.role, className: access.rules.caller(key.grant).className)
  }

  private func notStored(_ error: any Error, _ call: VarlinkCall) {
    tell(.storeFailed(problem: "\(error)"))
    call.fail(VarlinkErrorReply(ControlError.keyNotStored, ["reason": .string("\(error)")]))
  }
}

extension VarlinkErrorReply {
  fileprivate static func keyNameTaken(_ name: String) -> Self {
    Self(ControlError.keyNameTaken, ["name": .string(name)])
  }

  fileprivate static func noSuchKey(_ word: String) -> Self { Self(ControlError.noSuchKey, ["key": .string(word)]) }
}
