import Credentials
import NIOHTTP1
import PoolCore
import QueueStore

/// Who chats: sessions, by a signed cookie. Each belongs to one owner, and has a history of its own. On the loop.
struct Sessions {
  static let cookieName = "pool_session"
  private static let keyPrefix = "key:"

  private let secret: CookieSecret
  /// Whatever was not used for so long is forgotten.
  var lifetime: Duration
  private var owners: [String: String] = [:]

  init(secret: CookieSecret, lifetime: Duration, stored: [StoredSession]) {
    self.secret = secret
    self.lifetime = lifetime
    for session in stored { owners[session.id] = session.owner }
  }

  /// The session that a request's cookie names; nil for none, and for one that was forged or is gone.
  func session(in headers: HTTPHeaders) -> String? {
    for header in headers["cookie"] {
      for pair in header.split(separator: ";") {
        let pair = pair.drop { $0 == " " }
        guard pair.hasPrefix(Self.cookieName + "=") else { continue }
        if let id = secret.verify(String(pair.dropFirst(Self.cookieName.count + 1))), owners[id] != nil { return id }
      }
    }
    return nil
  }

  /// The API key with which a session signed in.
  func keyID(of session: String?) -> String? {
    guard let owner = session.flatMap({ owners[$0] }), owner.hasPrefix(Self.keyPrefix) else { return nil }
    return String(owner.dropFirst(Self.keyPrefix.count))
  }

  /// Whether a session is this one's.
  func belongs(_ session: String, to owner: String) -> Bool { owners[session] == owner }

  mutating func add(_ session: String, owner: String) { owners[session] = owner }
  mutating func remove(_ session: String) { owners[session] = nil }

  /// Whose a caller's sessions are.
  static func owner(of caller: Caller) -> String {
    switch caller.proof {
    case .key(let id, _): keyPrefix + id
    case .proxy: caller.user.name
    case .local, .anonymous: "anonymous"
    }
  }

  /// - Parameter isSecure: whether the browser came by HTTPS, and is to send it by nothing else.
  func cookie(_ session: String, isSecure: Bool) -> String {
    Self.cookie(secret.sign(session), seconds: lifetime.components.seconds, isSecure: isSecure)
  }

  static func cookie(_ value: String, seconds: Int64, isSecure: Bool) -> String {
    "\(cookieName)=\(value); Path=/; Max-Age=\(seconds); HttpOnly; SameSite=Lax" + (isSecure ? "; Secure" : "")
  }
}
