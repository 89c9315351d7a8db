import PoolCore
import Testing

/// Who somebody is: every combination of what a request may show with what the rules may say.
@Suite struct AccessRulesTests {
  private static let ofKey = AccessRules.KeyGrant(id: "1", name: "shop", className: "free")
  private static let ofSession = AccessRules.KeyGrant(id: "2", name: "ann", role: .administrator)

  private static func rules(
    _ anonymous: AccessRules.Anonymous, hasKeys: Bool, hasProxies: Bool, isOpen: Bool
  ) -> AccessRules {
    var rules = AccessRules(
      classes: [
        "standard": UserClass(name: "standard", priority: 1),
        "free": UserClass(name: "free", priority: 2, limits: UserLimits(requestsPerHour: 10)),
        "guests": UserClass(name: "guests", priority: 9, weight: 0.5),
        "enterprise": UserClass(name: "enterprise", priority: 0),
      ], defaultClass: "standard", anonymousClass: "guests")
    rules.anonymous = anonymous
    rules.hasKeys = hasKeys
    rules.hasProxies = hasProxies
    rules.isOpenToAnyone = isOpen
    rules.users = [
      "boss": AccessRules.UserGrant(role: .administrator, className: "enterprise"),
      "lost": AccessRules.UserGrant(className: "gone"),
    ]
    return rules
  }

  /// What is expected, said once more in another way: by proofs in the order in which they count.
  private static func expected(_ rules: AccessRules, _ claim: AccessRules.Claim) -> String {
    if case .known(let grant) = claim.key { return "key \(grant.name)" }
    if let user = claim.proxyUser { return "proxy \(user)" }
    if let grant = claim.sessionKey { return "key \(grant.name)" }
    let isUnclaimed = !(rules.hasKeys || rules.hasProxies)
    switch (rules.anonymous, isUnclaimed, claim.isOnLoopback, rules.isOpenToAnyone) {
    case (.refuse, _, _, _): return "nobody"
    case (_, true, true, _): return "local"
    case (.allow, _, _, _), (.auto, true, false, true): return "anonymous"
    case (.auto, false, _, _), (.auto, true, false, false): return "nobody"
    }
  }

  private static func text(_ caller: Caller?) -> String {
    switch caller?.proof {
    case .key(_, let name): "key \(name)"
    case .proxy: "proxy \(caller?.name ?? "")"
    case .local: "local"
    case .anonymous: "anonymous"
    case nil: "nobody"
    }
  }

  @Test func `whatever is shown, a known key counts first, then a proxy's word, then a session, then the address`() {
    let flags = [false, true]
    var seen: [String: Int] = [:]
    for anonymous in AccessRules.Anonymous.allCases {
      for hasKeys in flags {
        for hasProxies in flags {
          for isOpen in flags {
            let rules = Self.rules(anonymous, hasKeys: hasKeys, hasProxies: hasProxies, isOpen: isOpen)
            for key in [AccessRules.Claim.Key.none, .unknown, .known(Self.ofKey)] {
              for proxyUser in [nil, "boss", "eve"] {
                for session in [nil, Self.ofSession] {
                  for isOnLoopback in flags {
                    let claim = AccessRules.Claim(
                      key: key, proxyUser: proxyUser, sessionKey: session, address: "10.0.0.7",
                      isOnLoopback: isOnLoopback)
                    let caller = rules.identify(claim)
                    #expect(Self.text(caller) == Self.expected(rules, claim), "\(rules) \(claim)")
                    check(caller, proxyUser: proxyUser)
                    seen[Self.text(caller), default: 0] += 1
                  }
                }
              }
            }
          }
        }
      }
    }
    // Three words on the anonymous, three flags, three keys, three users, a session or none, both listeners.
    #expect(seen.values.reduce(0, +) == 864)
    #expect(Set(seen.keys) == ["key shop", "key ann", "proxy boss", "proxy eve", "local", "anonymous", "nobody"])
  }

  /// What each one is entitled to follows from who it is, and from nothing else.
  private func check(_ caller: Caller?, proxyUser: String?) {
    guard let caller else { return }
    let entitled: (user: String, role: Caller.Role, className: String, priority: Int)
    switch caller.proof {
    case .key("1", _): entitled = ("key:shop", .user, "free", 2)
    case .key: entitled = ("key:ann", .administrator, "standard", 1)
    case .proxy where proxyUser == "boss": entitled = ("user:boss", .administrator, "enterprise", 0)
    case .proxy: entitled = ("user:eve", .user, "standard", 1)
    case .local: entitled = ("address:10.0.0.7", .administrator, "standard", 1)
    case .anonymous: entitled = ("address:10.0.0.7", .user, "guests", 9)
    }
    #expect(caller.user.name == entitled.user)
    #expect(caller.role == entitled.role)
    #expect(caller.className == entitled.className)
    #expect(caller.share.priority == entitled.priority)
    let limit: Int? = entitled.className == "free" ? 10 : nil
    #expect(caller.share.limits.requestsPerHour == limit)
  }

  @Test func `a key's own limits count in place of those of its class, and the others stay`() {
    let rules = Self.rules(.auto, hasKeys: true, hasProxies: false, isOpen: false)
    var grant = Self.ofKey
    grant.limits = UserLimits(requestsPerHour: 50, waiting: 2)
    let limits = rules.caller(grant).share.limits
    #expect(limits == UserLimits(requestsPerHour: 50, waiting: 2))
    grant.limits = UserLimits(concurrent: 1)
    #expect(rules.caller(grant).share.limits == UserLimits(requestsPerHour: 10, concurrent: 1))
  }

  @Test func `a class that the configuration has no longer is the default one`() {
    let rules = Self.rules(.auto, hasKeys: true, hasProxies: true, isOpen: false)
    let grant = AccessRules.KeyGrant(id: "3", name: "old", className: "gone")
    #expect(rules.caller(grant).className == "standard")
    let lost = rules.identify(AccessRules.Claim(proxyUser: "lost", address: "::1", isOnLoopback: true))
    #expect(lost?.className == "standard")
    // Not even the default one is left.
    let bare = AccessRules().caller(grant)
    #expect(bare.className == "standard")
    #expect(bare.share.limits == UserLimits())
  }

  @Test func `no name of one kind is one of another`() {
    let rules = Self.rules(.allow, hasKeys: true, hasProxies: true, isOpen: false)
    func user(_ claim: AccessRules.Claim) -> UserID? { rules.identify(claim)?.user }
    let named = "10.0.0.7"
    let users: [UserID?] = [
      user(.init(key: .known(.init(id: "1", name: named)), address: named, isOnLoopback: true)),
      user(.init(proxyUser: named, address: named, isOnLoopback: true)),
      user(.init(address: named, isOnLoopback: true)),
    ]
    #expect(Set(users.compactMap { $0 }).count == 3)
  }

  @Test func `who asked before a restart is the same user again, without the role`() {
    let rules = Self.rules(.auto, hasKeys: true, hasProxies: true, isOpen: false)
    let proxied = rules.caller("user:boss", className: "enterprise")
    #expect(proxied.proof == .proxy)
    #expect(proxied.name == "boss")
    #expect(proxied.role == .user)
    #expect(proxied.share.priority == 0)
    let address = rules.caller("address:10.0.0.7", className: "guests")
    #expect(address.proof == .anonymous)
    #expect(address.name == nil)
    #expect(address.user == "address:10.0.0.7")
  }
}
