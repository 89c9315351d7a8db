/// Says who somebody is, by what a request shows: an API key, the header of a trusted proxy, or an address alone.
package struct AccessRules: Hashable, Sendable {
  /// Whether somebody without any proof may come in.
  package enum Anonymous: String, Hashable, Sendable, CaseIterable {
    /// As long as there is no key and no trusted proxy: from this machine as administrator, and where the configuration
    /// opens the endpoint for anyone, as user.
    case auto
    case allow, refuse
  }

  /// What an API key stands for.
  package struct KeyGrant: Hashable, Sendable {
    package var id: String
    package var name: String
    package var role: Caller.Role
    /// nil: the class of whoever has none.
    package var className: String?
    /// Where they differ from those of the class.
    package var limits: UserLimits

    package init(
      id: String, name: String, role: Caller.Role = .user, className: String? = nil, limits: UserLimits = UserLimits()
    ) {
      self.id = id
      self.name = name
      self.role = role
      self.className = className
      self.limits = limits
    }
  }

  /// What is settled for a user whom a proxy names.
  package struct UserGrant: Hashable, Sendable {
    package var role = Caller.Role.user
    package var className: String?

    package init(role: Caller.Role = .user, className: String? = nil) {
      self.role = role
      self.className = className
    }
  }

  /// What a request shows. The adapter has checked what can be checked: the key against those that were issued, and
  /// that it is a trusted proxy that speaks.
  package struct Claim: Hashable, Sendable {
    package enum Key: Hashable, Sendable {
      case none
      /// OpenAI's clients send one whatever the server wants.
      case unknown
      case known(KeyGrant)
    }

    package var key: Key
    /// Whom a trusted proxy names.
    package var proxyUser: String?
    /// The key with which the caller's session signed in.
    package var sessionKey: KeyGrant?
    /// What stands for the caller where nothing else does.
    package var address: String
    /// Whether the listener can be reached from this machine alone.
    package var isOnLoopback: Bool

    package init(
      key: Key = .none, proxyUser: String? = nil, sessionKey: KeyGrant? = nil, address: String, isOnLoopback: Bool
    ) {
      self.key = key
      self.proxyUser = proxyUser
      self.sessionKey = sessionKey
      self.address = address
      self.isOnLoopback = isOnLoopback
    }
  }

  package var anonymous = Anonymous.auto
  /// Whether keys have been issued, and whether some proxy is trusted: either ends that everyone is administrator.
  package var hasKeys = false
  package var hasProxies = false
  /// Whether the configuration says that anyone may come in by a listener beyond loopback.
  package var isOpenToAnyone = false
  package var classes: [String: UserClass]
  package var defaultClass: String
  package var anonymousClass: String
  package var users: [String: UserGrant] = [:]

  package init(
    classes: [String: UserClass] = [:], defaultClass: String = "standard",
    anonymousClass: String = "standard"
  ) {
    self.classes = classes
    self.defaultClass = defaultClass
    self.anonymousClass = anonymousClass
  }

  /// - Returns: nil for somebody who may not come in.
  package func identify(_ claim: Claim) -> Caller? {
    if case .known(let grant) = claim.key { return caller(grant) }
    if let name = claim.proxyUser {
      let grant = users[name] ?? UserGrant()
      return caller(.proxy, Caller.userPrefix + name, grant.role, grant.className ?? defaultClass)
    }
    if let grant = claim.sessionKey { return caller(grant) }
    let isUnclaimed = !hasKeys && !hasProxies
    if isUnclaimed, claim.isOnLoopback, anonymous != .refuse {
      return caller(.local, Caller.addressPrefix + claim.address, .administrator, defaultClass)
    }
    guard anonymous == .allow || (anonymous == .auto && isUnclaimed && isOpenToAnyone) else { return nil }
    return caller(.anonymous, Caller.addressPrefix + claim.address, .user, anonymousClass)
  }

  package func caller(_ grant: KeyGrant) -> Caller {
    var caller = caller(
      .key(id: grant.id, name: grant.name), Caller.keyPrefix + grant.name, grant.role, grant.className ?? defaultClass)
    caller.share.limits.override(by: grant.limits)
    return caller
  }

  /// A class that the configuration has no longer is the default one.
  private func caller(_ proof: Caller.Proof, _ user: String, _ role: Caller.Role, _ className: String) -> Caller {
    let userClass = classes[className] ?? classes[defaultClass] ?? UserClass(name: defaultClass)
    return Caller(
      proof: proof, role: role, className: userClass.name,
      share: DispatchRequest.Share(user: UserID(user), in: userClass))
  }
}

extension AccessRules {
  /// Somebody whose request outlived the dispatcher that took it. What was proved then is believed.
  package func caller(_ user: UserID, className: String) -> Caller {
    let proof: Caller.Proof = user.name.hasPrefix(Caller.userPrefix) ? .proxy : .anonymous
    return caller(proof, user.name, .user, className)
  }
}
