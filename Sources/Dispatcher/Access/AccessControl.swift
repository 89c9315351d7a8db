import Addresses
import Credentials
import Gateway
import NIOCore
import NIOHTTP1
import OllamaAPI
import PoolConfiguration
import PoolCore
import QueueStore

/// Finds in a request's head what tells who sent it, and has the rules say who that is. Lives on the loop.
struct AccessControl {
  /// A key that was issued and not revoked.
  struct IssuedKey: Hashable, Sendable {
    let id: String
    let hash: [UInt8]
    let createdAt: WallTime
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

  /// In the order in which they were issued.
  var keys: [IssuedKey] { keysByID.values.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) } }

  /// The key of this id, else that of this name.
  func key(idOrName word: String) -> IssuedKey? {
    keysByID[word] ?? keysByID.values.first { $0.grant.name == word }
  }

  // MARK: Who somebody is

  /// Somebody who asked before a restart. A key that was revoked since is only a user like others.
  func caller(_ user: UserID, className: String, keyID: String?) -> Caller {
    keyID.flatMap { keysByID[$0] }.map { rules.caller($0.grant) } ?? rules.caller(user, className: className)
  }

  /// - Parameter sessionKeyID: the key with which the session of the request signed in.
  func identify(_ head: HTTPRequestHead, from peer: RequestPeer, sessionKeyID: String?) -> Caller? {
    let address = Self.address(of: peer.address)
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

  /// Whether a head shows a key that was never issued, or was revoked.
  func showsUnknownKey(_ headers: HTTPHeaders) -> Bool { shownKey(headers) == .unknown }

  /// Whether a trusted proxy says that the client came to it by HTTPS. Anybody else's word counts for nothing, and
  /// neither does what leaves open which proxy has written it.
  func saysHTTPS(_ headers: HTTPHeaders, from peer: SocketAddress?) -> Bool {
    isProxy(peer) && headers["x-forwarded-proto"].map { $0.lowercased() } == ["https"]
  }

  /// What a trusted proxy says that the client calls it: pages that it has from there are the pool's own.
  func publicHost(_ headers: HTTPHeaders, from peer: SocketAddress?) -> String? {
    guard isProxy(peer) else { return nil }
    let names = headers["x-forwarded-host"]
    return names.count == 1 ? names.first : nil
  }

  private func isProxy(_ peer: SocketAddress?) -> Bool {
    !trustedProxies.isEmpty && Self.address(of: peer).map(isTrusted) ?? false
  }

  /// By the socket's bytes, for it is asked for with each request.
  private static func address(of peer: SocketAddress?) -> IPAddress? {
    // Where they are in a sockaddr_in and a sockaddr_in6.
    let place: Range<Int>
    switch peer {
    case .v4: place = 4..<8
    case .v6: place = 8..<24
    case .unixDomainSocket, nil: return nil
    }
    return peer?.withSockAddr { address, size in
      IPAddress(ofSocket: Array(UnsafeRawBufferPointer(start: address, count: size)[place]))
    }
  }

  private func isTrusted(_ address: IPAddress) -> Bool { trustedProxies.contains { $0.contains(address) } }

  /// As OpenAI's and Ollama's clients show it, and as Anthropic's do. Of several the first that was issued counts.
  private func shownKey(_ headers: HTTPHeaders) -> AccessRules.Claim.Key {
    var shown = headers["x-api-key"]
    for value in headers["authorization"] {
      let words = value.split(whereSeparator: \.isWhitespace)
      if words.count == 2, words[0].lowercased() == "bearer" { shown.append(String(words[1])) }
    }
    if shown.isEmpty { return .none }
    for text in shown {
      if let known = key(text) { return .known(known.grant) }
    }
    return .unknown
  }

  /// Whether a trusted proxy names a user in a way that leaves open who is meant.
  func namesNobody(_ headers: HTTPHeaders, from peer: SocketAddress?) -> Bool {
    isProxy(peer) && headers[userHeader].contains { !$0.isEmpty } && proxyUser(headers) == nil
  }

  /// Two headers would leave open which one the proxy has written. Blanks around a name are none of it (RFC 9110, 5.5),
  /// and what is not UTF-8 is no name: with U+FFFD in place of their letters, those of several users are the same.
  private func proxyUser(_ headers: HTTPHeaders) -> String? {
    let values = headers[userHeader]
    guard values.count == 1, let name = values.first.map(Self.withoutBlanksAround), (1...128).contains(name.utf8.count),
      name.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F && $0 != "\u{FFFD}" })
    else { return nil }
    return name
  }

  private static func withoutBlanksAround(_ value: String) -> String {
    func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }
    let start = value.drop(while: isBlank)
    return start.lastIndex { !isBlank($0) }.map { String(start[...$0]) } ?? ""
  }

  /// The last address of `X-Forwarded-For` that is no proxy's: what stands before it is what the client says.
  private func clientAddress(_ headers: HTTPHeaders) -> IPAddress? {
    let chain = headers["x-forwarded-for"].flatMap { $0.split(separator: ",") }
    for entry in chain.reversed() {
      let entry = entry.split(whereSeparator: \.isWhitespace)
      guard entry.count == 1, let address = IPAddress(entry[0]) else { return nil }
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
