import Addresses
import Credentials
import Gateway
import NIOCore
import NIOHTTP1
import PoolConfiguration
import PoolCore
import QueueStore
import Testing

@testable import Dispatcher

/// What a request's head shows, and whose word counts for it.
@Suite struct AccessControlTests {
  private let first = APIKey()
  private let second = APIKey()

  private func control(_ change: (inout Settings) -> Void = { _ in }) -> AccessControl {
    var settings = Settings()
    settings.access.trustedProxies = [Self.network("10.0.0.0/24"), Self.network("fd00:1::/64")]
    settings.access.anonymous = .allow
    change(&settings)
    return AccessControl(settings)
  }

  private static func network(_ text: String) -> IPNetwork {
    guard let network = IPNetwork(text) else { preconditionFailure(text) }
    return network
  }

  private static func issued(_ key: APIKey, _ name: String) -> AccessControl.IssuedKey {
    .init(
      id: "id-\(name)", hash: key.hash, createdAt: WallTime(milliseconds: 0),
      grant: AccessRules.KeyGrant(id: "id-\(name)", name: name))
  }

  private func identify(
    _ control: AccessControl, _ headers: [(String, String)], from address: String? = "192.0.2.1",
    session: String? = nil
  ) throws -> Caller? {
    let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/api/chat", headers: HTTPHeaders(headers))
    let peer = RequestPeer(
      address: try address.map { try SocketAddress(ipAddress: $0, port: 1) }, isOnLoopback: false, isSameOrigin: true)
    return control.identify(head, from: peer, sessionKeyID: session)
  }

  // MARK: The client's address

  @Test(arguments: [
    // What a stranger says of others counts for nothing.
    ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
    ("10.0.0.5", [], "10.0.0.5"),
    ("10.0.0.5", ["198.51.100.9"], "198.51.100.9"),
    // The last that is no proxy's: before it stands what the client sent.
    ("10.0.0.5", ["1.2.3.4, 198.51.100.9"], "198.51.100.9"),
    ("10.0.0.5", ["198.51.100.9,10.0.0.6 , 10.0.0.7"], "198.51.100.9"),
    ("10.0.0.5", ["1.2.3.4", "198.51.100.9, 10.0.0.6"], "198.51.100.9"),
    // Proxies all the way, or what is no address: the proxy's own.
    ("10.0.0.5", ["10.0.0.6"], "10.0.0.5"),
    ("10.0.0.5", ["198.51.100.9, nonsense"], "10.0.0.5"),
    ("10.0.0.5", ["198.51.100.9, 192.0.2.7:4711"], "10.0.0.5"),
    ("10.0.0.5", [""], "10.0.0.5"),
    ("fd00:1::5", ["2001:db8:1:2:aaaa::1"], "2001:db8:1:2::/64"),
    ("::ffff:10.0.0.5", ["::ffff:198.51.100.9"], "198.51.100.9"),
    // Whoever has a network of IPv6 has all of its addresses.
    ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
    ("2001:db8:1:2:ffff::", [], "2001:db8:1:2::/64"),
    ("2001:db8:1:3::", [], "2001:db8:1:3::/64"),
    ("::1", [], "::1"),
  ])
  func `the client's address is the last in the chain that is no proxy's`(
    _ row: (peer: String, chain: [String], address: String)
  ) throws {
    let caller = try identify(control(), row.chain.map { ("X-Forwarded-For", $0) }, from: row.peer)
    #expect(caller?.user.name == "address:\(row.address)")
    #expect(caller?.proof == .anonymous)
  }

  @Test func `a peer without an address is one caller`() throws {
    #expect(try identify(control(), [], from: nil)?.user.name == "address:local")
  }

  // MARK: The user whom a proxy names

  @Test func `a trusted proxy's user header counts, whatever the case of its name, and nobody else's does`() throws {
    let control = control()
    let headers = [("x-forwarded-user", "ann@example.org"), ("X-Forwarded-For", "192.0.2.1")]
    let trusted = try identify(control, headers, from: "10.0.0.5")
    #expect(trusted?.proof == .proxy && trusted?.name == "ann@example.org")
    let stranger = try identify(control, headers, from: "10.0.1.5")
    #expect(stranger?.proof == .anonymous && stranger?.user.name == "address:10.0.1.5")
    let refusing = self.control { $0.access.anonymous = .refuse }
    #expect(try identify(refusing, headers, from: "10.0.1.5") == nil)
    #expect(try identify(refusing, headers, from: "10.0.0.5")?.name == "ann@example.org")
  }

  @Test(arguments: [
    [("X-Forwarded-User", "ann"), ("X-Forwarded-User", "bob")], [("X-Forwarded-User", "")],
    [("X-Forwarded-User", String(repeating: "a", count: 129))], [("X-Forwarded-User", "a\u{1}b")],
    [("X-Remote-User", "ann")], [("X-Forwarded-User", " \t ")],
    // Müller in Latin-1, and every other name that differs from it there alone.
    [("X-Forwarded-User", "M\u{FFFD}ller")],
  ])
  func `a header that leaves open who is meant names nobody`(_ headers: [(String, String)]) throws {
    let caller = try identify(control(), headers, from: "10.0.0.5")
    #expect(caller?.proof == .anonymous)
  }

  @Test(arguments: [" boss", "boss ", "\tboss \t"])
  func `blanks around a name are none of it`(_ name: String) throws {
    #expect(try identify(control(), [("X-Forwarded-User", name)], from: "10.0.0.5")?.name == "boss")
  }

  @Test func `a proxy's word that names nobody is noticed, and a stranger's is not`() throws {
    func names(_ name: String, _ peer: String) throws -> Bool {
      control().namesNobody(["X-Forwarded-User": name], from: try SocketAddress(ipAddress: peer, port: 1))
    }
    #expect(try names("M\u{FFFD}ller", "10.0.0.5") && !names("Müller", "10.0.0.5") && !names("", "10.0.0.5"))
    #expect(try !names("M\u{FFFD}ller", "192.0.2.1"))
  }

  @Test func `the header's name is the configured one`() throws {
    let control = control { $0.access.userHeader = "Remote-User" }
    #expect(try identify(control, [("Remote-User", "ann")], from: "10.0.0.5")?.name == "ann")
    #expect(try identify(control, [("X-Forwarded-User", "ann")], from: "10.0.0.5")?.name == nil)
  }

  // MARK: Keys

  @Test func `a key is found in each header that clients use`() throws {
    var control = control()
    control.add(Self.issued(first, "one"))
    for header in [
      ("Authorization", "Bearer \(first.text)"), ("authorization", "bearer   \(first.text) "),
      ("X-Api-Key", first.text),
    ] {
      #expect(try identify(control, [header])?.name == "one", "\(header)")
    }
    for header in [
      ("Authorization", first.text), ("Authorization", "Basic \(first.text)"), ("Api-Key", first.text),
      ("Authorization", "Bearer \(first.text) x"), ("X-Api-Key", first.text + "x"), ("X-Api-Key", "unused"),
      ("X-Api-Key", String(first.text.dropLast())), ("X-Api-Key", String(repeating: "sk-pool-", count: 10_000)),
    ] {
      let caller = try identify(control, [header])
      #expect(caller?.proof == .anonymous, "\(header.0)")
    }
  }

  @Test func `of two keys the one that was issued counts, and of two that were, that in X-Api-Key`() throws {
    var control = control()
    control.add(Self.issued(first, "one"))
    control.add(Self.issued(second, "two"))
    let dummy = ("Authorization", "Bearer sk-dummy")
    #expect(try identify(control, [dummy, ("X-Api-Key", second.text)])?.name == "two")
    #expect(try identify(control, [("X-Api-Key", "x"), ("Authorization", "Bearer \(first.text)")])?.name == "one")
    let both = [("Authorization", "Bearer \(first.text)"), ("X-Api-Key", second.text)]
    #expect(try identify(control, both)?.name == "two")
    control.remove(keyID: "id-two")
    #expect(try identify(control, both)?.name == "one")
  }

  @Test func `an unknown key is no proof where one is wanted, and none at all where not`() throws {
    let dummy = [("Authorization", "Bearer sk-dummy")]
    var refusing = control { $0.access.anonymous = .refuse }
    #expect(try identify(refusing, dummy) == nil)
    #expect(try identify(control(), dummy)?.proof == .anonymous)
    let headers = HTTPHeaders(dummy)
    #expect(refusing.showsUnknownKey(headers) && !refusing.showsUnknownKey(HTTPHeaders()))
    refusing.add(Self.issued(first, "one"))
    #expect(!refusing.showsUnknownKey(HTTPHeaders([("X-Api-Key", first.text)])))
  }

  @Test func `keys come and go at once, and new settings leave them alone`() throws {
    var control = control { settings in
      settings.access.trustedProxies = []
      settings.access.anonymous = .auto
    }
    #expect(!control.rules.hasKeys)
    control.add(Self.issued(first, "one"))
    control.adopt(Settings())
    #expect(control.rules.hasKeys && control.keys.map(\.id) == ["id-one"])
    #expect(control.key(idOrName: "one") == control.key(idOrName: "id-one") && control.key(idOrName: "two") == nil)
    let shown = [("X-Api-Key", first.text)]
    #expect(try identify(control, shown)?.name == "one")
    #expect(try identify(control, [], session: "id-one")?.name == "one")
    control.remove(keyID: "id-one")
    control.remove(keyID: "id-one")
    #expect(!control.rules.hasKeys)
    #expect(try identify(control, shown) == nil)
    #expect(try identify(control, [], session: "id-one") == nil, "its sessions are signed out")
  }

  // MARK: HTTPS

  @Test(arguments: [
    ("10.0.0.5", ["https"], true), ("10.0.0.5", ["HTTPS"], true), ("10.0.0.5", ["http"], false),
    ("10.0.0.5", [], false), ("10.0.0.5", ["https", "http"], false), ("10.0.0.5", ["https, http"], false),
    ("192.0.2.1", ["https"], false),
  ])
  func `that a client came by HTTPS is a trusted proxy's to say`(
    _ row: (peer: String, said: [String], counts: Bool)
  ) throws {
    let headers = HTTPHeaders(row.said.map { ("X-Forwarded-Proto", $0) })
    let peer = try SocketAddress(ipAddress: row.peer, port: 1)
    #expect(control().saysHTTPS(headers, from: peer) == row.counts)
  }

  @Test(arguments: [
    ("10.0.0.5", ["chat.example.org"], "chat.example.org"), ("10.0.0.5", [], nil),
    ("10.0.0.5", ["chat.example.org", "evil.example"], nil), ("192.0.2.1", ["chat.example.org"], nil),
  ])
  func `what browsers call the server is a trusted proxy's to say`(
    _ row: (peer: String, said: [String], host: String?)
  ) throws {
    let headers = HTTPHeaders(row.said.map { ("X-Forwarded-Host", $0) })
    #expect(control().publicHost(headers, from: try SocketAddress(ipAddress: row.peer, port: 1)) == row.host)
  }

  // MARK: Limits in headers

  @Test func `the headers of a limit tell the one that is nearest to its end, and all of them as the policy`() {
    func text(_ requests: LimitStanding?, _ tokens: LimitStanding?) -> [String] {
      RateLimitFields.fields(requests: requests, tokens: tokens).map { "\($0.name): \($0.value)" }
    }
    let some = LimitStanding(limit: 10, remaining: 3, reset: .milliseconds(59_001))
    let many = LimitStanding(limit: 1000, remaining: 900, reset: .seconds(7))
    let none = LimitStanding(limit: 1000, remaining: 0, reset: .seconds(7))
    #expect(text(nil, nil) == [])
    let detail = ["RateLimit-Limit: 10", "RateLimit-Remaining: 3", "RateLimit-Reset: 60"]
    #expect(text(some, nil) == detail + ["RateLimit-Policy: 10;w=3600"])
    #expect(text(some, many) == detail + [#"RateLimit-Policy: 10;w=3600, 1000;w=3600;comment="tokens""#])
    #expect(text(some, none).prefix(3) == ["RateLimit-Limit: 1000", "RateLimit-Remaining: 0", "RateLimit-Reset: 7"])
    #expect(text(nil, none).last == #"RateLimit-Policy: 1000;w=3600;comment="tokens""#)
  }
}
