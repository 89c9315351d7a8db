/// Those that wait for a slot, in the order in which they get one.
///
/// - Between priorities: strictly by level, 0 first. A request begins in its class's priority; whoever has waited for
///   ``aging`` counts as of the level above, and so on. In the first level the first of a user's requests that has
///   waited as long comes before all turns, in the order of arrival: turns alone bound nobody's wait, since those who
///   come anew have had less. Of a user's crowd it is one request after the other that does, so the others' turns stay
///   what they are. Both are the bound on starvation.
/// - Within a level, between users: a Virtual Token Counter for each, see ``TokenCounters``: the user who has had the
///   fewest tokens is next. Users are compared where they want the same instances, see ``Pools``.
/// - Of one user, and between users who have had the same: first in, first out. So it is for all where every user has
///   one request, and with ``isFair`` off.
/// - What was put back after a failed attempt has the turn that it was given a slot with.
///
/// What happens costs O(log n), also where it shifts the turns of many: that is put off until somebody asks for the
/// order, and then costs O(log n) for each that was shifted, or O(n) for all together where they are many. Where they
/// are more than a few, those who ask all the time get the order as it was a moment ago, see ``settle(at:)``. The
/// answers themselves take O(log n): who is first of all, of a kind or of a model, and how many stand before whom. The
/// parts:
/// - here: who is when;
/// - `ServiceOrder+Events`: what happens;
/// - `ServiceOrder+Costs`: what users are charged.
package struct ServiceOrder: Sendable {
  /// Where a request stands; the least is served first.
  package struct Key: Hashable, Comparable, Sendable {
    /// ``ServiceOrder/aged`` before all priorities.
    package internal(set) var level: Int
    /// What its user will have had when its turn comes, in thousandths of virtual tokens.
    var turn = 0
    package let id: RequestID

    package static func < (one: Key, other: Key) -> Bool {
      (one.level, one.turn, one.id) < (other.level, other.turn, other.id)
    }
  }

  /// Where users are compared: those who want the same instances, within a level.
  struct Lane: Hashable, Sendable {
    var level: Int
    /// See ``Pools``.
    var pool: Int
  }

  struct Entry: Sendable {
    enum State: Sendable {
      case waiting
      /// It neither waits nor is served. → waiting
      case suspended
      case served
    }

    /// What its user is entitled to.
    var share: DispatchRequest.Share
    /// Tokens of the question.
    var inputTokens: Int
    var level: Int
    /// See ``Pools``.
    var pool: Int
    /// The numbers of its kind and of its model, see ``KeyGroups``.
    let kind: Int
    let model: Int
    /// Since when it counts for its level.
    var since: Instant
    /// What it was given a slot with, or waits with where it is not in its user's line.
    var turn = 0
    /// Where its user was charged for it; nil before its first turn.
    var chargedIn: Lane?
    var state = State.waiting
    /// What its user was charged, in thousandths of virtual tokens: at its turn what is expected, then what it takes.
    var charged = 0
    /// Of this, what attempts took that were given up.
    var spent = 0

    var isAged: Bool { level == ServiceOrder.aged }
    /// Whoever is past the turns of the first level is charged there.
    var lane: Lane { Lane(level: max(0, level), pool: pool) }
  }

  /// The level of those that come before all turns.
  static let aged = -1

  /// Whether users who have had less come before those who have had more.
  package var isFair = true { didSet { if isFair != oldValue { renew { _ in nil } } } }
  /// After so long in a level a request counts as of the one above; nil for never.
  package var aging: Duration?
  /// Which models' requests want the same instances.
  var pools = Pools() {
    didSet {
      guard pools != oldValue else { return }
      let numbers = pools.numbers(ofThoseIn: oldValue)
      renew { lane in numbers[lane.pool].map { Lane(level: lane.level, pool: $0) } }
    }
  }

  var entries: [RequestID: Entry] = [:]
  var all = RankedSet<Key>()
  var kinds = KeyGroups<DispatchRequest.Kind>()
  var models = KeyGroups<String?>()
  var counters: [Lane: TokenCounters] = [:]
  /// Lanes in which turns have shifted.
  var shifted: Set<Lane> = []
  private var settledAt: Instant?
  var stays = AgingLine()
  /// Who has a request that waits past all turns.
  var agedUsers: Set<UserID> = []
  var outputs = OutputLengths()

  package init() {}

  // MARK: Who is when

  package var count: Int { all.count }

  package subscript(rank: Int) -> RequestID? {
    mutating get {
      settle()
      return all[rank]?.id
    }
  }

  /// All that wait, in the order of service. O(n)
  package var waiting: [RequestID] {
    mutating get {
      settle()
      return all.elements.map(\.id)
    }
  }

  /// The priority that a request counts for: its own, or what age or an operator has made of it.
  package func level(of id: RequestID) -> Int? { entries[id]?.lane.level }

  package func isWaiting(_ id: RequestID) -> Bool { entries[id]?.state == .waiting }

  /// Where a request stands; nil where it does not wait. As it was when the order was settled last.
  package func key(of id: RequestID) -> Key? {
    guard let entry = entries[id], entry.state == .waiting else { return nil }
    let turn = isInLine(entry) ? counters[entry.lane]?.turn(of: id, of: entry.share.user) : entry.turn
    return turn.map { Key(level: entry.level, turn: $0, id: id) }
  }

  /// Where a request stood when it was given a slot, or stands.
  package func lastKey(of id: RequestID) -> Key? {
    key(of: id) ?? entries[id].map { Key(level: $0.level, turn: $0.turn, id: id) }
  }

  /// How many wait before a request; nil where it does not wait.
  package mutating func ahead(of id: RequestID) -> Int? {
    settle()
    return key(of: id).map { all.rank(of: $0) }
  }

  /// How many wait before a place; after ``settle()``.
  /// - Parameter models: of these alone; nil for all.
  func ahead(of key: Key, among models: Set<String?>?) -> Int {
    guard let models else { return all.rank(of: key) }
    return models.reduce(0) { $0 + (self.models[$1]?.rank(of: key) ?? 0) }
  }

  /// How many would wait before one of this user's that came now and waited for any instance.
  func ahead(ofNewcomer share: DispatchRequest.Share) -> Int {
    let lane = Lane(level: UserClass.bounded(priority: share.priority), pool: pools.number(of: nil))
    let turn = isFair ? counters[lane]?.nextTurn(of: share.user) ?? 0 : .max
    return all.rank(of: Key(level: lane.level, turn: turn, id: RequestID(.max)))
  }

  /// The models that requests wait for.
  var waitingModels: [String?] { models.names }

  /// The first of those that wait for the same, that suits; after ``settle()``.
  func first(of kind: DispatchRequest.Kind, where suits: (RequestID) -> Bool) -> Key? {
    kinds[kind].flatMap { Self.first(in: $0, where: suits) }
  }

  /// The first of those that wait for a model, or for none that could be read, that suits; after ``settle()``.
  func first(ofModel model: String?, where suits: (RequestID) -> Bool) -> Key? {
    models[model].flatMap { Self.first(in: $0, where: suits) }
  }

  /// The first of all that suits; after ``settle()``.
  func first(where suits: (RequestID) -> Bool) -> Key? { Self.first(in: all, where: suits) }

  /// Where those stand that wait for a model, in the order of service; after ``settle()``.
  func keys(ofModel model: String?) -> [Key] { models[model]?.elements ?? [] }

  /// Nearly always the first of all.
  private static func first(in keys: RankedSet<Key>, where suits: (RequestID) -> Bool) -> Key? {
    for rank in 0..<keys.count {
      if let key = keys[rank], suits(key.id) { return key }
    }
    return nil
  }

  // MARK: Keys

  /// Whether its turn follows from its user's line. What was put back keeps the one that it had.
  func isInLine(_ entry: Entry) -> Bool {
    isFair && entry.state == .waiting && entry.chargedIn == nil
  }

  mutating func insert(_ key: Key, _ kind: Int, _ model: Int) {
    all.insert(key)
    kinds.insert(key, kind)
    models.insert(key, model)
  }

  mutating func remove(_ key: Key, _ kind: Int, _ model: Int) {
    all.remove(key)
    kinds.remove(key, kind)
    models.remove(key, model)
  }

  /// Notes what a change of a lane's counters has shifted.
  @discardableResult
  mutating func change<Result>(_ lane: Lane, _ body: (inout TokenCounters) -> Result) -> Result {
    let (result, hasShifted) = Self.change(&counters[lane, default: TokenCounters()], body)
    if hasShifted { shifted.insert(lane) }
    return result
  }

  private static func change<Result>(
    _ counters: inout TokenCounters, _ body: (inout TokenCounters) -> Result
  ) -> (Result, hasShifted: Bool) {
    let result = body(&counters)
    return (result, counters.hasShifted)
  }

  /// So many are put where they belong at once.
  private static let few = 100
  /// Several times what it takes to put one of many where it belongs.
  private static let settlingPause = Duration.microseconds(10)

  /// As ``settle()``, for those who ask at each event: where many have shifted it is done only so often that it takes
  /// a tenth of the time. Else a crowd of one user that leaves, where each shifts all that are left, would take O(n²).
  mutating func settle(at now: Instant) {
    let count = shifted.reduce(0) { $0 + (counters[$1]?.shiftedPlaces ?? 0) }
    if count > Self.few, let settledAt, now - settledAt < Self.settlingPause * count { return }
    settledAt = now
    settle()
  }

  /// Puts those where they belong whose turns have shifted.
  mutating func settle() {
    guard !shifted.isEmpty else { return }
    for lane in shifted {
      let shifts = counters[lane]?.settle() ?? []
      func key(_ id: RequestID, _ turn: Int) -> Key { Key(level: lane.level, turn: turn, id: id) }
      func replace(_ shifts: [TokenCounters.Shift], _ replace: ([Key], [Key]) -> Void) {
        replace(shifts.map { key($0.place.id, $0.before) }, shifts.map { key($0.place.id, $0.place.turn) })
      }
      replace(shifts) { all.replace($0, with: $1) }
      for (kind, shifts) in Dictionary(grouping: shifts, by: \.place.kind) {
        replace(shifts) { kinds.replace($0, with: $1, kind) }
      }
      for (model, shifts) in Dictionary(grouping: shifts, by: \.place.model) {
        replace(shifts) { models.replace($0, with: $1, model) }
      }
    }
    shifted.removeAll(keepingCapacity: true)
  }
}
