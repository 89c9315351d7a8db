/// What one user may ask of the pool; nil for no limit. It counts inference alone.
package struct UserLimits: Hashable, Sendable {
  /// Accepted requests in any sixty minutes.
  package var requestsPerHour: Int?
  /// Tokens of questions and answers in any sixty minutes. What is asked while some are left is answered to its end,
  /// so that the sum may go beyond by what the open requests take.
  package var tokensPerHour: Int?
  /// Open requests: those that wait or run.
  package var concurrent: Int?
  /// Of these, those that wait. What starts at once does not wait.
  package var waiting: Int?

  package init(
    requestsPerHour: Int? = nil, tokensPerHour: Int? = nil, concurrent: Int? = nil, waiting: Int? = nil
  ) {
    self.requestsPerHour = requestsPerHour
    self.tokensPerHour = tokensPerHour
    self.concurrent = concurrent
    self.waiting = waiting
  }

  /// Whether any of them is by the hour.
  package var hasHourly: Bool { requestsPerHour != nil || tokensPerHour != nil }

  /// What the other ones settle counts instead.
  package mutating func override(by other: UserLimits) {
    requestsPerHour = other.requestsPerHour ?? requestsPerHour
    tokensPerHour = other.tokensPerHour ?? tokensPerHour
    concurrent = other.concurrent ?? concurrent
    waiting = other.waiting ?? waiting
  }
}

/// What users of one kind are entitled to, from the configuration.
package struct UserClass: Hashable, Sendable {
  /// Each has its own order of service.
  package static let priorities = 0...99

  package var name: String
  /// All of a priority are served before those of the next; 0 is the first.
  package var priority: Int
  /// Of two users of a priority, one of twice the weight gets twice as many tokens. More than 0.
  package var weight: Double
  @Shared package var limits: UserLimits

  package init(name: String, priority: Int = 0, weight: Double = 1, limits: UserLimits = UserLimits()) {
    self.name = name
    self.priority = priority
    self.weight = weight
    self.limits = limits
  }

  static func bounded(priority: Int) -> Int { min(max(priorities.lowerBound, priority), priorities.upperBound) }
}

/// How much of a limit by the hour is left: what RateLimit headers say.
package struct LimitStanding: Hashable, Sendable {
  package var limit: Int
  /// Not less than 0.
  package var remaining: Int
  /// Until more is left than now; zero where all is.
  package var reset: Duration

  package init(limit: Int, remaining: Int, reset: Duration) {
    self.limit = limit
    self.remaining = remaining
    self.reset = reset
  }

  /// The part of the limit that is left, from 0 to 1.
  package var remainingPart: Double { limit > 0 ? Double(remaining) / Double(limit) : 0 }
}

/// A user's open inference.
package struct OpenRequests: Hashable, Sendable {
  package var waiting = 0
  package var running = 0

  package init() {}

  package var total: Int { waiting + running }
}
