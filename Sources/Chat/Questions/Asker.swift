import NIOCore
import PoolCore

/// Who asks, whence.
struct Asker {
  var caller: Caller
  var peer: SocketAddress?
  var language: ChatLanguage
  /// The one that the cookie names, if it is this caller's.
  var session: String?
  /// Whether there is a cookie of any session.
  var hasCookie: Bool
  /// Whether the browser came by HTTPS.
  var isSecure: Bool

  /// Whether a question is this one's. A browser sees those of its session alone; whoever has no cookie, such as a
  /// program with an API key, all of its own.
  ///
  /// - Parameter mayEnd: whether it is asked for to end it, or to see how long it will wait: that an administrator may
  ///   with everybody's. Whoever is one for want of any key is one among others.
  func may(see question: Question, mayEnd: Bool = false) -> Bool {
    if question.session == session { return true }
    if mayEnd, caller.isAdministrator, caller.proof != .local { return true }
    return !hasCookie && caller.proof != .anonymous && question.caller.user == caller.user
  }
}
