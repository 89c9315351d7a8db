import NIOCore
import PoolCore

/// Who asks, whence.
struct Asker {
  let sharedCaller: Shared<Caller>
  var peer: SocketAddress?
  var language: ChatLanguage
  /// The one that the cookie names, if it is this caller's.
  var session: String?
  /// Whether that session begins with its first question: its client has the cookie before.
  var beginsSession = false
  /// Whether there is a cookie of the chat's, whatever it is worth.
  var hasCookie: Bool
  var cookies: CookieRule

  var caller: Caller { sharedCaller.wrappedValue }

  /// Whether a question is this one's. A browser sees those of its session alone; so does whoever is only an address,
  /// which others may have, too. A user who is known by a key or by a proxy, and has no cookie, sees all of its own.
  ///
  /// - Parameter mayEnd: whether it is asked for to end it, or to see how long it will wait: that an administrator may
  ///   with everybody's. Whoever is one for want of any key is one among others.
  func may(see question: Question, mayEnd: Bool = false) -> Bool {
    if question.session == session { return true }
    if mayEnd, caller.isAdministrator, caller.proof != .local { return true }
    return !hasCookie && caller.isSignedIn && question.caller.user == caller.user
  }
}

extension Caller {
  /// Whether it is known who this is: an address may be many people's.
  var isSignedIn: Bool {
    switch proof {
    case .key, .proxy: true
    case .local, .anonymous: false
    }
  }
}
