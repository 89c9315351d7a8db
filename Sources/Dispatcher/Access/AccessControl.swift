import Addresses
import Credentials
import Gateway
import NIOCore
import NIOHTTP1
import OllamaAPI
import PoolConfiguration
import PoolCore

/// Finds in a request's head what tells who sent it, and has the rules say who that is. Lives on the loop.
struct AccessControl {
  /// A key that was issued and not revoked.
  struct IssuedKey: Hashable, Sendable {
    let id: String
    let hash: [UInt8]
    let grant: AccessRules.KeyGrant
  }

  private(set) var rules = AccessRules()
  private var trustedProxies: [IPNetwork] = []
  private var userHeader = ""
  private var keysByHash: [[UInt8]: IssuedKey] = [:]
  private var keysByID: [String: IssuedKey] = [:]

  init(_ settings: Settings) { adopt(settings) }

  mutating func adopt(_ settings: Settings) {
    rules = settings.accessRules
    rules.hasKeys = !keysByID.isEmpty
    trustedProxies = settings.access.trustedProxies
    userHeader = settings.access.userHeader
  }

  mutating func add(_ key: IssuedKey) {
    keysByHash[key.hash] = key
    keysByID[key.id] = key
    rules.hasKeys = true
  }

  mutating func remove(keyID: String) {
    guard let key = keysByID.removeValue(forKey: keyID) else { return }
    keysByHash[key.hash] = nil
    rules.hasKeys = !keysByID.isEmpty
  }

  func key(_ text: String) -> IssuedKey? { APIKey(text: text).flatMap { keysByHash[$0.hash] } }

  // MARK: Who somebody is

  /// Somebody who asked before a restart. A key that was revoked since is only a user like others.
  func caller(_ user: UserID, className: String, keyID: String?) -> Caller {
    keyID.flatMap { keysByID[$0] }.map { rules.caller($0.grant) } ?? rules.caller(user, className: className)
  }

  /// - Parameter sessionKeyID: the key with which the session of the request signed in.
  func identify(_ head: HTTPRequestHead, from peer: RequestPeer, sessionKeyID: String?) -> Caller? {
    let address = peer.address?.ipAddress.flatMap { IPAddress($0) }
    let isProxy = address.map(isTrusted) ?? false
    return rules.identify(
      AccessRules.Claim(
        key: shownKey(head.headers), proxyUser: isProxy ? proxyUser(head.headers) : nil,
        sessionKey: sessionKeyID.flatMap { keysByID[$0]?.grant },
        address: Self.bucket(isProxy ? clientAddress(head.headers) ?? address : address),
        isOnLoopback: peer.isOnLoopback))
  }

  /// The same one by the rules as they are now.
  func renewed(_ caller: Caller) -> Caller {
    let keyID: String? = if case .key(let id, _) = caller.proof { id } else { nil }
    return self.caller(caller.user, className: caller.className, keyID: keyID)
  }

  private func isTrusted(_ address: IPAddress) -> Bool { trustedProxies.contains { $0.contains(address) } }

  /// As OpenAI's and Ollama's clients show it, and as Anthropic's do.
  private func shownKey(_ headers: HTTPHeaders) -> AccessRules.Claim.Key {
    var shown = headers["x-api-key"]
    for value in headers["authorization"] {
      let words = value.split(separator: " ", maxSplits: 1)
      if words.count == 2, words[0].lowercased() == "bearer" { shown.append(String(words[1])) }
    }
    if shown.isEmpty { return .none }
    return shown.lazy.compactMap(key).first.map { .known($0.grant) } ?? .unknown
  }

  /// Two headers would leave open which one the proxy has written.
  private func proxyUser(_ headers: HTTPHeaders) -> String? {
    let values = headers[userHeader]
    guard values.count == 1, let name = values.first, (1...128).contains(name.utf8.count),
      name.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
    else { return nil }
    return name
  }

  /// The last address of `X-Forwarded-For` that is no proxy's: what stands before it is what the client says.
  private func clientAddress(_ headers: HTTPHeaders) -> IPAddress? {
    let chain = headers["x-forwarded-for"].flatMap { $0.split(separator: ",") }
    for entry in chain.reversed() {
      guard let address = IPAddress(entry.trimmingWhitespace()) else { return nil }
      if !isTrusted(address) { return address }
    }
    return nil
  }

  /// What counts as one caller: of IPv6, whoever has a /64 has all the addresses in it (RFC 6177).
  private static func bucket(_ address: IPAddress?) -> String {
    guard let address else { return "local" }
    return address.isIPv4 || address.isLoopback ? "\(address)" : "\(IPNetwork(address, prefix: 64))"
  }
}

extension Substring {
  fileprivate func trimmingWhitespace() -> Substring {
    var text = self
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}

extension Route {
  /// Who may come in by it.
  enum Audience { case anyone, users, administrators }

  var audience: Audience {
    switch kind {
    case .root, .pool(.page), .pool(.document), .pool(.signIn), .pool(.signOut): .anyone
    case .modelManagement, .account: .administrators
    case .inference, .metadata, .processList, .pool: .users
    }
  }
}
