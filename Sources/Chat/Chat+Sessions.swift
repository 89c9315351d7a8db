import Credentials
import FoundationEssentials
import Gateway
import NIOCore
import OllamaAPI
import PoolConfiguration
import PoolCore
import QueueStore

/// Who somebody is, signing in and out.
extension Chat {
  func answerSession(_ exchange: Exchange, _ asker: Asker) {
    knownModels { [self] known in
      let names = known?.thatChat ?? []
      var json = JSONWriter()
      json.raw("{\"user\":")
      json.string(asker.caller.name)
      json.raw(",\"role\":")
      json.string(asker.caller.role.rawValue)
      json.raw(asker.caller.isSignedIn ? ",\"signed_in\":true" : ",\"signed_in\":false")
      // Whom a proxy names, or who shows a key each time, has no session to leave.
      let hasSignedIn = keyID(of: exchange.headers, from: exchange.peer) != nil
      json.raw(hasSignedIn ? ",\"sign_out\":true" : ",\"sign_out\":false")
      json.raw(",\"models\":[")
      for (index, name) in names.enumerated() {
        if index > 0 { json.raw(",") }
        json.string(name)
      }
      json.raw("],\"default_model\":")
      json.string(settings.defaultModel ?? (names.count == 1 ? names.first : nil))
      json.raw("}")
      exchange.respond(status: 200, headers: cookieBefore(asker) + Self.jsonHeaders, body: json.bytes)
    }
  }

  /// Whoever is only an address has to have the cookie before the first question: without, nobody could find it again
  /// whose answer was lost on the way.
  private func cookieBefore(_ asker: Asker) -> [(name: String, value: String)] {
    guard asker.session == nil, !asker.caller.isSignedIn else { return [] }
    return sessions.cookie(RandomID.make(), isNew: true, asker.cookies)
  }

  static let jsonHeaders: [(name: String, value: String)] = [
    ("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store"),
  ]

  private struct SignIn: Decodable { var key: String }

  func signIn(_ exchange: Exchange) {
    guard let wanted = try? JSONDecoder().decode(SignIn.self, from: Data(exchange.content.readableBytesView)) else {
      let shape = "{\"key\": \"sk-pool-…\"}"
      return exchange.refuse(
        .malformed(italian: "Il corpo dev'essere \(shape).", english: "The body has to be \(shape)."))
    }
    guard let caller = pool.caller(withKey: wanted.key) else { return exchange.refuse(.unknownKey) }
    let rule = cookies(for: exchange)
    guard rule != .refused else { return exchange.refuse(.foreignSignIn) }
    // A new one: whoever knew the old one must not know this one.
    let session = RandomID.make()
    let stored = begin(session, of: caller, at: .now)
    let added = store.add(stored)
    added.assumeIsolated().whenComplete { [self] written in began(stored, written) }
    once(added, exchange) { [self] _ in
      exchange.respond(
        status: 204, headers: sessions.cookie(session, rule) + [("Cache-Control", "no-store")], body: [])
    }
  }

  /// A session of whoever asks or signs in; it is written down together with that.
  func begin(_ session: String, of caller: Caller, at now: WallTime) -> StoredSession {
    let owner = SessionOwner(caller)
    sessions.add(session, owner: owner)
    return StoredSession(id: session, owner: owner.stored, createdAt: now, lastUsedAt: now)
  }

  /// - Parameter written: the sessions that had to go for it; what it fails with leaves no session.
  func began(_ session: StoredSession?, _ written: Result<[String], any Error>) {
    switch written {
    case .success(let gone): for session in gone { sessions.remove(session) }
    case .failure: if let session { sessions.remove(session.id) }
    }
  }

  /// Also ends what the session has asked.
  func signOut(_ exchange: Exchange) {
    if let session = sessions.shown(in: exchange.headers, from: exchange.peer).id {
      sessions.remove(session)
      for question in questions.values where question.session == session { stop(question) }
      note(store.deleteSession(session))
    }
    exchange.respond(
      status: 204, headers: Sessions.noCookie(cookies(for: exchange)) + [("Cache-Control", "no-store")], body: [])
  }
}
