import DequeModule

/// Those that wait for a slot, in the order in which they get one; the first of all, the first of those that some
/// instance may take, and how many stand before whom, each in O(log n). What shifts a user's turns, such as that one of
/// many waiting requests gives up, costs that for each of the user's that wait.
///
/// - Between classes: strictly by level, 0 first. Whoever has waited for ``aging`` counts as of the level above, and so
///   on: the bound on starvation.
/// - Within a level, between users: a Virtual Token Counter for each, see ``TokenCounters``: the user who has had the
///   fewest tokens is next.
/// - Of one user, and between users who have had the same: first in, first out. So it is for all where every user has
///   one request, and with ``isFair`` off.
/// - What was put back after a failed attempt has the turn that it was given a slot with.
package struct ServiceOrder: Sendable {
  /// Where a request stands; the least is served first.
  package struct Key: Hashable, Comparable, Sendable {
    package internal(set) var level: Int
    /// What its user will have had when its turn comes, in thousandths of virtual tokens.
    var turn = 0
    package let id: RequestID

    package static func < (one: Key, other: Key) -> Bool {
      (one.level, one.turn, one.id) < (other.level, other.turn, other.id)
    }
  }

  private struct Entry: Sendable {
    let request: DispatchRequest
    var key: Key
    /// Since when it counts for its level.
    var since: Instant
    /// Whether it waits; else it is being served.
    var isWaiting = true
    /// What its user is charged for it, in thousandths of virtual tokens: at its turn what is expected, at its end what
    /// it really took.
    var cost: Int
    /// The level in which that was charged; nil before its first turn.
    var chargedLevel: Int?
  }

  /// Whether users who have had less come before those who have had more.
  package var isFair = true { didSet { if isFair != oldValue { renew() } } }
  /// After so long in a level a request counts as of the one above; nil for never.
  package var aging: Duration?

  private var entries: [RequestID: Entry] = [:]
  private var all = RankedSet<Key>()
  private var byKind: [DispatchRequest.Kind: RankedSet<Key>] = [:]
  private var byModel: [String?: RankedSet<Key>] = [:]
  private var levels: [Int: TokenCounters] = [:]
  private var outputs = OutputLengths()

  package init() {}

  // MARK: Who is when

  package var count: Int { all.count }
  package subscript(rank: Int) -> RequestID? { all[rank]?.id }
  /// All that wait, in the order of service. O(n)
  package var waiting: [RequestID] { all.elements.map(\.id) }

  /// Where a request stands; nil where it does not wait.
  package func key(of id: RequestID) -> Key? { entries[id].flatMap { $0.isWaiting ? $0.key : nil } }

  /// Where a request stood when it was given a slot, or stands.
  package func lastKey(of id: RequestID) -> Key? { entries[id]?.key }

  /// How many wait before a request; nil where it does not wait.
  /// - Parameter models: of these alone; nil for all.
  package func ahead(of id: RequestID, among models: Set<String?>? = nil) -> Int? {
    guard let key = key(of: id) else { return nil }
    guard let models else { return all.rank(of: key) }
    return models.reduce(0) { $0 + (byModel[$1]?.rank(of: key) ?? 0) }
  }

  /// How many would wait before one that came now, at most.
  package func ahead(ofNewcomerAt level: Int) -> Int {
    all.rank(of: Key(level: level, turn: .max, id: RequestID(.max)))
  }

  /// The models that requests wait for.
  var models: [String?] { Array(byModel.keys) }

  /// The first of those that wait for the same, that suits.
  func first(of kind: DispatchRequest.Kind, where suits: (RequestID) -> Bool) -> Key? {
    byKind[kind].flatMap { Self.first(in: $0, where: suits) }
  }

  /// The first of those that wait for a model, or for none that could be read, that suits.
  func first(ofModel model: String?, where suits: (RequestID) -> Bool) -> Key? {
    byModel[model].flatMap { Self.first(in: $0, where: suits) }
  }

  /// The first of all that suits.
  func first(where suits: (RequestID) -> Bool) -> Key? { Self.first(in: all, where: suits) }

  func waiting(forModel model: String?) -> [RequestID] { byModel[model]?.elements.map(\.id) ?? [] }

  /// Nearly always the first of all.
  private static func first(in keys: RankedSet<Key>, where suits: (RequestID) -> Bool) -> Key? {
    for rank in 0..<keys.count {
      if let key = keys[rank], suits(key.id) { return key }
    }
    return nil
  }

  // MARK: What happens

  /// A request begins to wait.
  ///
  /// - Precondition: it is not there yet.
  package mutating func append(_ request: DispatchRequest, at now: Instant) {
    precondition(entries[request.id] == nil, "request \(request.id) has a place already")
    let key = Key(level: request.share.priority, id: request.id)
    entries[request.id] = Entry(
      request: request, key: key, since: now, cost: cost(of: request, output: outputs.mean))
    enter(request.id)
  }

  /// A request is given a slot.
  package mutating func callUp(_ id: RequestID) {
    guard let entry = entries[id], entry.isWaiting else { return }
    removeKey(of: id)
    entries[id]?.isWaiting = false
    guard entry.chargedLevel == nil else { return }
    entries[id]?.chargedLevel = entry.key.level
    apply(to: entry.key.level) { $0.serve(id, of: entry.request.share.user) }
  }

  /// A request waits again, with the turn that it had.
  package mutating func putBack(_ id: RequestID, at now: Instant) {
    guard let entry = entries[id], !entry.isWaiting else { return }
    entries[id]?.isWaiting = true
    entries[id]?.since = now
    insertKey(of: id)
  }

  /// The answer to a request that was being served has come to its end, with so many tokens.
  package mutating func finish(_ id: RequestID, tokens: Int) {
    guard let entry = entries[id], !entry.isWaiting, let level = entry.chargedLevel else { return }
    outputs.add(tokens)
    let cost = cost(of: entry.request, output: tokens)
    entries[id]?.cost = cost
    apply(to: level) { $0.charge(entry.request.share.user, cost - entry.cost) }
  }

  /// A request has ended, wherever it stood.
  package mutating func remove(_ id: RequestID) {
    guard let entry = entries[id] else { return }
    if entry.isWaiting { leave(id) }
    entries[id] = nil
  }

  /// Gives a waiting request another level.
  mutating func move(_ id: RequestID, toLevel level: Int, at now: Instant) {
    guard let entry = entries[id], entry.isWaiting, entry.key.level != level else { return }
    leave(id)
    entries[id]?.key.level = level
    entries[id]?.since = now
    enter(id)
  }

  /// Lifts those that have waited for long.
  /// - Returns: those that were lifted, in their order.
  @discardableResult
  package mutating func age(at now: Instant) -> [RequestID] {
    guard let aging else { return [] }
    // What can be lifted stands behind all of level 0.
    let lower = all.rank(of: Key(level: 1, turn: .min, id: RequestID(0)))..<all.count
    let due = lower.compactMap { all[$0] }.filter { now - (entries[$0.id]?.since ?? now) >= aging }
    for key in due { move(key.id, toLevel: key.level - 1, at: now) }
    return due.map(\.id)
  }

  // MARK: Keys

  private func cost(of request: DispatchRequest, output: Int) -> Int {
    guard isFair else { return 0 }
    let tokens = Double(OutputLengths.bounded(request.inputTokens) + 2 * OutputLengths.bounded(output))
    // Not a number is no weight either.
    return Int(1000 * tokens / (request.share.weight > 0.001 ? request.share.weight : 0.001))
  }

  private mutating func enter(_ id: RequestID) {
    guard let entry = entries[id] else { return }
    let level = entry.key.level
    let least = leastTurn(ofLevel: level)
    guard isFair, entry.chargedLevel == nil else {
      entries[id]?.key.turn = isFair ? least ?? 0 : 0
      return insertKey(of: id)
    }
    apply(to: level) { $0.enter(id, of: entry.request.share.user, cost: entry.cost, least: least) }
  }

  private mutating func leave(_ id: RequestID) {
    guard let entry = entries[id] else { return }
    removeKey(of: id)
    if entry.chargedLevel == nil { apply(to: entry.key.level) { $0.leave(id, of: entry.request.share.user) } }
  }

  /// Carries a change of the counters out.
  private mutating func apply(to level: Int, _ change: (inout TokenCounters) -> [TokenCounters.Turn]) {
    guard isFair else { return }
    for (id, turn) in change(&levels[level, default: TokenCounters()]) {
      removeKey(of: id)
      entries[id]?.key.turn = turn
      insertKey(of: id)
    }
  }

  /// What the user whose turn is next has had; nil where nobody waits.
  private func leastTurn(ofLevel level: Int) -> Int? {
    let least = Key(level: level, turn: .min, id: RequestID(0))
    return all[all.rank(of: least)].flatMap { $0.level == level ? $0.turn : nil }
  }

  private mutating func insertKey(of id: RequestID) {
    guard let entry = entries[id] else { return }
    all.insert(entry.key)
    byKind[entry.request.kind, default: RankedSet()].insert(entry.key)
    byModel[entry.request.model, default: RankedSet()].insert(entry.key)
  }

  private mutating func removeKey(of id: RequestID) {
    guard let entry = entries[id] else { return }
    all.remove(entry.key)
    byKind[entry.request.kind]?.remove(entry.key)
    byModel[entry.request.model]?.remove(entry.key)
    // Clients make the names up.
    if byKind[entry.request.kind]?.isEmpty == true { byKind[entry.request.kind] = nil }
    if byModel[entry.request.model]?.isEmpty == true { byModel[entry.request.model] = nil }
  }

  /// Whether users count has changed.
  private mutating func renew() {
    let waiting = entries.filter { $0.value.isWaiting }.keys.sorted()
    for id in waiting { removeKey(of: id) }
    levels = [:]
    for id in waiting { entries[id]?.key.turn = 0 }
    for id in waiting {
      guard let entry = entries[id] else { continue }
      let cost = cost(of: entry.request, output: outputs.mean)
      entries[id]?.cost = cost
      enter(id)
    }
  }
}
