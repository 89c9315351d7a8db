import DequeModule

/// What each user used in the last hour: requests and tokens, by the minute.
///
/// A sliding window: what was used in a minute counts until sixty minutes after that minute's end, so that no sixty
/// minutes, wherever they begin, hold more than a limit allows.
///
/// Only users who used something within the window are kept, and of these ``mostUsers``. Beyond, those go who have used
/// the smallest part of their limits. So nobody gets rid of what counts against them by filling the table: that takes
/// as many other users as there is room for, each of whom has used a larger part of theirs, and whoever has so many
/// names needs no second hour of one.
package struct UsageLedger: Sendable {
  /// For so many minutes, the present one among them, usage counts.
  package static let minutes = 61
  static let mostUsers = 50_000
  /// Beyond ``mostUsers`` so many are forgotten at once, so that each one costs O(1).
  private static let forgottenAtOnce = mostUsers / 16

  /// What one user used in one minute, as it is kept over a restart.
  package struct Entry: Hashable, Sendable {
    package var user: UserID
    /// Minutes since the origin of the caller's clock; may be negative.
    package var minute: Int
    package var requests: Int
    package var tokens: Int

    package init(user: UserID, minute: Int, requests: Int, tokens: Int) {
      self.user = user
      self.minute = minute
      self.requests = requests
      self.tokens = tokens
    }
  }

  /// What both limits by the hour go by.
  package struct Usage: Hashable, Sendable {
    package var requests = 0
    package var tokens = 0

    package init(requests: Int = 0, tokens: Int = 0) {
      self.requests = requests
      self.tokens = tokens
    }
  }

  private struct Bucket: Sendable {
    let minute: Int
    var usage = Usage()
    /// Whether it has changed since the last export.
    var isDirty = false
  }

  private struct User: Sendable {
    /// The oldest first; none is empty of meaning for longer than the window.
    var buckets: Deque<Bucket> = []
    /// The part of the limits that was used when it last used something, in thousandths.
    var part = 0

    /// - Returns: whether it is the first of this minute.
    mutating func add(_ usage: Usage, in minute: Int) -> Bool {
      let isFirst = buckets.last?.minute != minute
      if isFirst { buckets.append(Bucket(minute: minute)) }
      buckets[buckets.count - 1].usage.add(usage)
      buckets[buckets.count - 1].isDirty = true
      return isFirst
    }
  }

  private var users: [UserID: User] = [:]
  /// Who got a bucket in which minute, the oldest first.
  private var begun: Deque<(minute: Int, users: [UserID])> = []
  /// Buckets in `begun` of users who were forgotten before their time.
  private var strayBuckets = 0
  private var dirty: Set<UserID> = []

  package init() {}

  /// What an earlier life has kept, in any order. What is too old is left out; what lies in the future, as after a
  /// clock was set back, counts from now on.
  package init(_ kept: [Entry], at now: Instant) {
    let minute = Self.minute(of: now)
    for entry in kept.sorted(by: { ($0.minute, $0.user) < ($1.minute, $1.user) })
    where entry.minute > minute - Self.minutes && (users[entry.user] != nil || users.count < Self.mostUsers) {
      let usage = Usage(requests: min(max(0, entry.requests), Self.most), tokens: min(max(0, entry.tokens), Self.most))
      add(usage, of: entry.user, in: min(entry.minute, minute))
      // Nobody knows yet of what it is a part.
      users[entry.user]?.part = 1000
    }
    // It is as it was kept.
    _ = takeChanges()
  }

  package static func minute(of time: Instant) -> Int {
    let (minute, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: nanosecondsPerMinute)
    return Int(rest < 0 ? minute - 1 : minute)
  }

  private static let nanosecondsPerMinute: Int64 = 60_000_000_000
  /// Keeps sums far from the end of Int.
  private static let most = 1_000_000_000_000

  var userCount: Int { users.count }

  // MARK: Questions

  package func usage(of user: UserID, at now: Instant) -> Usage {
    live(user, at: now).reduce(into: Usage()) { $0.add($1.usage) }
  }

  /// Which limit by the hour forbids another request, and how long it will.
  func refusal(of user: UserID, _ limits: UserLimits, at now: Instant) -> Refusal? {
    if let standing = standing(of: user, limits.requestsPerHour, \.requests, at: now), standing.remaining == 0 {
      return Refusal(.rateLimited, retryAfter: standing.reset)
    }
    if let standing = standing(of: user, limits.tokensPerHour, \.tokens, at: now), standing.remaining == 0 {
      return Refusal(.tokenLimited, retryAfter: standing.reset)
    }
    return nil
  }

  /// nil where there is no limit.
  package func requestStanding(of user: UserID, _ limits: UserLimits, at now: Instant) -> LimitStanding? {
    standing(of: user, limits.requestsPerHour, \.requests, at: now)
  }

  /// nil where there is no limit.
  package func tokenStanding(of user: UserID, _ limits: UserLimits, at now: Instant) -> LimitStanding? {
    standing(of: user, limits.tokensPerHour, \.tokens, at: now)
  }

  private func standing(
    of user: UserID, _ limit: Int?, _ part: KeyPath<Usage, Int>, at now: Instant
  ) -> LimitStanding? {
    guard let limit else { return nil }
    let buckets = live(user, at: now)
    var used = buckets.reduce(0) { $0 + $1.usage[keyPath: part] }
    let remaining = max(0, limit - used)
    var reset: Duration = remaining == 0 ? .seconds(Self.minutes * 60) : .zero
    for bucket in buckets where bucket.usage[keyPath: part] > 0 {
      used -= bucket.usage[keyPath: part]
      guard limit - used > remaining else { continue }
      reset = Self.end(of: bucket.minute) - now
      break
    }
    return LimitStanding(limit: limit, remaining: remaining, reset: reset)
  }

  /// When what was used in a minute counts no more.
  private static func end(of minute: Int) -> Instant {
    Instant(nanoseconds: Int64(minute + minutes) * nanosecondsPerMinute)
  }

  private func live(_ user: UserID, at now: Instant) -> Deque<Bucket>.SubSequence {
    let buckets = users[user]?.buckets ?? []
    let oldest = Self.minute(of: now) - Self.minutes
    return buckets.drop { $0.minute <= oldest }
  }

  // MARK: What is used

  /// - Parameter limits: what the user may use, by which it is decided whom to forget.
  mutating func add(_ usage: Usage, of user: UserID, _ limits: UserLimits, at now: Instant) {
    let minute = Self.minute(of: now)
    forgetExpired(at: minute)
    add(usage, of: user, in: minute)
    let part = part(of: user, limits, at: now)
    users[user]?.part = part
    if users.count > Self.mostUsers { forgetSome() }
  }

  /// Takes back what was added in a minute that still counts. Does nothing else.
  mutating func takeBack(_ usage: Usage, of user: UserID, in minute: Int) {
    guard let place = users[user]?.buckets.firstIndex(where: { $0.minute == minute }) else { return }
    users[user]?.buckets[place].usage.add(Usage(requests: -usage.requests, tokens: -usage.tokens))
    users[user]?.buckets[place].isDirty = true
    dirty.insert(user)
  }

  private mutating func add(_ usage: Usage, of user: UserID, in minute: Int) {
    if users[user, default: User()].add(usage, in: minute) {
      if begun.last?.minute != minute { begun.append((minute, [])) }
      begun[begun.count - 1].users.append(user)
    }
    dirty.insert(user)
  }

  private func part(of user: UserID, _ limits: UserLimits, at now: Instant) -> Int {
    if limits.requestsPerHour == nil, limits.tokensPerHour == nil { return 0 }
    let sum = usage(of: user, at: now)
    return max(Self.part(sum.requests, of: limits.requestsPerHour), Self.part(sum.tokens, of: limits.tokensPerHour))
  }

  private static func part(_ used: Int, of limit: Int?) -> Int {
    limit.map { min(1000, used * 1000 / max(1, $0)) } ?? 0
  }

  private mutating func forgetExpired(at minute: Int) {
    while let first = begun.first, first.minute <= minute - Self.minutes {
      for user in first.users {
        while let oldest = users[user]?.buckets.first, oldest.minute <= first.minute {
          users[user]?.buckets.removeFirst()
        }
        if users[user]?.buckets.isEmpty == true { forget(user) }
      }
      begun.removeFirst()
    }
  }

  /// Of those who have used the smallest parts of their limits, the ones who began first.
  private mutating func forgetSome() {
    var byPart = [Int](repeating: 0, count: 1001)
    for user in users.values { byPart[user.part] += 1 }
    var (part, count) = (0, byPart[0])
    while count < Self.forgottenAtOnce, part < 1000 {
      part += 1
      count += byPart[part]
    }
    // Those first who came first: in the order of the hashes what is left would crowd together.
    var left = Self.forgottenAtOnce
    for user in begun.lazy.flatMap(\.users) where left > 0 {
      guard let record = users[user], record.part <= part else { continue }
      strayBuckets += record.buckets.count
      forget(user)
      left -= 1
    }
    guard strayBuckets > Self.mostUsers else { return }
    strayBuckets = 0
    for place in begun.indices { begun[place].users.removeAll { users[$0] == nil } }
  }

  private mutating func forget(_ user: UserID) {
    users[user] = nil
    dirty.remove(user)
  }

  // MARK: Over a restart

  /// Everything that counts, or did until a moment ago, whether it has changed or not.
  package var entries: [Entry] {
    users.flatMap { user, record in
      record.buckets.map {
        Entry(user: user, minute: $0.minute, requests: $0.usage.requests, tokens: $0.usage.tokens)
      }
    }
  }

  /// What has changed since the last call, as it stands now: each takes the place of an earlier one of its user and
  /// minute.
  package mutating func takeChanges() -> [Entry] {
    var changes: [Entry] = []
    for user in dirty {
      for place in users[user]?.buckets.indices ?? 0..<0 {
        guard let bucket = users[user]?.buckets[place], bucket.isDirty else { continue }
        users[user]?.buckets[place].isDirty = false
        changes.append(
          Entry(user: user, minute: bucket.minute, requests: bucket.usage.requests, tokens: bucket.usage.tokens))
      }
    }
    dirty.removeAll(keepingCapacity: true)
    return changes
  }
}

extension UsageLedger.Usage {
  /// Sums stay at 0 or above.
  fileprivate mutating func add(_ other: Self) {
    requests = max(0, requests + other.requests)
    tokens = max(0, tokens + other.tokens)
  }
}

/// Why a request is not accepted, and when it is worth asking again.
struct Refusal: Hashable, Sendable {
  let failure: RequestFailure
  let retryAfter: Duration?

  init(_ failure: RequestFailure, retryAfter: Duration? = nil) {
    self.failure = failure
    self.retryAfter = retryAfter
  }
}
