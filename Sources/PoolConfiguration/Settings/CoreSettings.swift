package import PoolCore

extension Settings {
  /// What bounds the dispatch; what the file has no key for stays the core's.
  package var dispatchLimits: DispatchLimits {
    var limits = DispatchLimits()
    limits.waitingRequests = queue.requests
    limits.maximumWait = queue.maximumWait
    limits.isFair = queue.fair
    limits.aging = queue.aging
    limits.assumedService = queue.assumedService
    limits.coldStart = scaling.coldStart
    limits.firstByteLimit = health.firstByteLimit
    limits.stallTimeout = health.stallTimeout
    limits.probeTimeout = health.probeTimeout
    limits.probeFailures = health.probeFailures
    limits.preload = preload
    return limits
  }
}

extension Settings {
  /// Who may come in, and what each class is entitled to; what was issued since comes from elsewhere.
  package var accessRules: AccessRules {
    var rules = AccessRules(
      classes: Dictionary(uniqueKeysWithValues: classes.map { ($0.key, UserClass($0.key, $0.value)) }),
      defaultClass: access.defaultClass, anonymousClass: access.anonymousClass)
    rules.anonymous = access.anonymous
    rules.hasProxies = !access.trustedProxies.isEmpty
    rules.isOpenToAnyone = allowOpenListener
    rules.users = users.mapValues { AccessRules.UserGrant(role: $0.role, className: $0.className) }
    return rules
  }
}

extension UserClass {
  fileprivate init(_ name: String, _ settings: ClassSettings) {
    self.init(
      name: name, priority: settings.priority, weight: settings.weight,
      limits: UserLimits(
        requestsPerHour: settings.requestsPerHour, tokensPerHour: settings.tokensPerHour,
        concurrent: settings.concurrent, waiting: settings.waiting))
  }
}
