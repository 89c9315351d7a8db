import PoolCore

/// Whose sessions are whose: nobody has more than so many.
enum SessionOwner: Equatable {
  /// Whoever has the API key of this id.
  case key(String)
  /// A user whom a proxy names.
  case user(String)
  /// Whoever is only an address may come by another one the next time.
  case anonymous(String)

  private static let keyPrefix = "key:"
  private static let anonymousPrefix = "anonymous "

  init(_ caller: Caller) {
    switch caller.proof {
    case .key(let id, _): self = .key(id)
    case .proxy: self = .user(caller.user.name)
    case .local, .anonymous: self = .anonymous(caller.user.name)
    }
  }

  init(stored text: String) {
    if text.hasPrefix(Self.keyPrefix) {
      self = .key(String(text.dropFirst(Self.keyPrefix.count)))
    } else if text.hasPrefix(Self.anonymousPrefix) {
      self = .anonymous(String(text.dropFirst(Self.anonymousPrefix.count)))
    } else {
      self = .user(text)
    }
  }

  /// No owner of one kind is one of another: a user's name begins with another word.
  var stored: String {
    switch self {
    case .key(let id): Self.keyPrefix + id
    case .user(let name): name
    case .anonymous(let name): Self.anonymousPrefix + name
    }
  }

  var isAnonymous: Bool { if case .anonymous = self { true } else { false } }
}
