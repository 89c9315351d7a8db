import Credentials
import Gateway
import NIOHTTP1
import PoolCore
import QueueStore

/// What a request shows of a session.
enum ShownSession: Equatable {
  case none
  /// A cookie that was forged, whose session is gone, or that came by a page of another origin.
  case unknown
  /// One that begins with its first question.
  case new(String)
  case known(String)

  var id: String? { if case .known(let id) = self { id } else { nil } }
}

/// Whether a client may get cookies.
enum CookieRule: Equatable {
  case taken
  /// It came by HTTPS, and is to send them by nothing else.
  case byHTTPS
  /// A page of another origin has a browser ask: it would lose the session that it has here.
  case refused
}

/// Who chats: sessions, by a signed cookie. Each belongs to one owner, and has a history of its own. On the loop.
struct Sessions {
  static let cookieName = "pool_session"
  /// Of a cookie whose session begins with its first question. Any other cookie's session is over once it is gone.
  private static let newPrefix = "new:"

  private let secret: CookieSecret
  /// Whatever was not used for so long is forgotten.
  var lifetime: Duration
  private var owners: [String: SessionOwner] = [:]

  init(secret: CookieSecret, lifetime: Duration, stored: [StoredSession]) {
    self.secret = secret
    self.lifetime = lifetime
    for session in stored { owners[session.id] = SessionOwner(stored: session.owner) }
  }

  /// What a request's cookie says. The one place where cookies are read: a browser sends them with whatever some other
  /// page has it ask, too, and there they count for nothing.
  func shown(in headers: HTTPHeaders, from peer: RequestPeer) -> ShownSession {
    var shown = ShownSession.none
    for header in headers["cookie"] {
      for pair in header.split(separator: ";") {
        let pair = pair.drop { $0 == " " }
        guard pair.hasPrefix(Self.cookieName + "=") else { continue }
        shown = .unknown
        guard peer.isSameOrigin, let value = secret.verify(String(pair.dropFirst(Self.cookieName.count + 1)))
        else { continue }
        let isNew = value.hasPrefix(Self.newPrefix)
        let id = isNew ? String(value.dropFirst(Self.newPrefix.count)) : value
        if owners[id] != nil { return .known(id) }
        if isNew { return .new(id) }
      }
    }
    return shown
  }

  /// The API key with which a session signed in.
  func keyID(of session: String?) -> String? {
    if case .key(let id)? = session.flatMap({ owners[$0] }) { id } else { nil }
  }

  /// Whether a session is this one's.
  func belongs(_ session: String, to caller: Caller) -> Bool {
    guard let kept = owners[session] else { return false }
    let owner = SessionOwner(caller)
    return kept == owner || kept.isAnonymous && owner.isAnonymous
  }

  mutating func add(_ session: String, owner: SessionOwner) { owners[session] = owner }
  mutating func remove(_ session: String) { owners[session] = nil }

  /// The field of an answer by which a browser keeps a session's cookie.
  ///
  /// - Parameter isNew: whether the session is still to begin, with the first question that the cookie comes with.
  func cookie(_ session: String, isNew: Bool = false, _ rule: CookieRule) -> [(name: String, value: String)] {
    let value = isNew ? Self.newPrefix + session : session
    return Self.field(secret.sign(value), seconds: lifetime.components.seconds, rule)
  }

  /// The one by which it forgets it.
  static func noCookie(_ rule: CookieRule) -> [(name: String, value: String)] { field("", seconds: 0, rule) }

  private static func field(_ value: String, seconds: Int64, _ rule: CookieRule) -> [(name: String, value: String)] {
    guard rule != .refused else { return [] }
    let security = rule == .byHTTPS ? "; Secure" : ""
    return [
      ("Set-Cookie", "\(cookieName)=\(value); Path=/; Max-Age=\(seconds); HttpOnly; SameSite=Lax" + security)
    ]
  }
}
