import PoolCore

/// A client's own name for a question. However often it comes, the question is asked once: whoever asks it again has
/// lost the answer's head, and means the same.
struct IdempotencyKey: Hashable {
  /// Within which a name means one question, as long as that is known here.
  enum Scope: Hashable {
    case session(String)
    case user(UserID)
  }

  let scope: Scope
  let text: String
}

extension Asker {
  /// nil for whoever is only an address, and has no session yet.
  func named(_ text: String) -> IdempotencyKey? {
    if let session { return IdempotencyKey(scope: .session(session), text: text) }
    return caller.isSignedIn && !hasCookie ? IdempotencyKey(scope: .user(caller.user), text: text) : nil
  }
}

extension Question {
  /// By which those find it again who may see it.
  var idempotencyKeys: [IdempotencyKey] {
    guard let text = idempotencyKey else { return [] }
    let ofSession = IdempotencyKey(scope: .session(session), text: text)
    return caller.isSignedIn ? [ofSession, IdempotencyKey(scope: .user(caller.user), text: text)] : [ofSession]
  }
}
