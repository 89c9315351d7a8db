/// What happens to those that wait.
extension ServiceOrder {
  /// A request begins to wait.
  ///
  /// - Precondition: it is not there yet.
  package mutating func append(_ request: DispatchRequest, at now: Instant, isSuspended: Bool = false) {
    precondition(entries[request.id] == nil, "request \(request.id) has a place already")
    entries[request.id] = Entry(
      share: request.share, inputTokens: request.inputTokens,
      level: UserClass.bounded(priority: request.share.priority),
      pool: pools.number(of: request.model),
      kind: kinds.join(request.kind), model: models.join(request.model), since: now,
      state: isSuspended ? .suspended : .waiting)
    if !isSuspended { enter(request.id, at: now) }
  }

  /// A request is given a slot.
  package mutating func callUp(_ id: RequestID) {
    guard let entry = entries[id], entry.state == .waiting, let key = key(of: id) else { return }
    remove(key, entry.kind, entry.model)
    if entry.isAged { agedUsers.remove(entry.share.user) }
    entries[id]?.state = .served
    entries[id]?.turn = key.turn
    giveTurn(id)
  }

  /// Its user is charged for a request in its line.
  private mutating func giveTurn(_ id: RequestID) {
    guard let entry = entries[id], entry.chargedIn == nil else { return }
    entries[id]?.chargedIn = entry.lane
    guard isFair else { return }
    let place = change(entry.lane) { $0.serve(id, of: entry.share.user) }
    entries[id]?.charged = place?.cost ?? 0
  }

  /// A request that was being served waits again, with the turn that it had: what it would have been given has not been
  /// had.
  package mutating func putBack(_ id: RequestID, at now: Instant) {
    guard let entry = entries[id], entry.state == .served else { return }
    entries[id]?.state = .waiting
    stay(id, at: now)
    enterLine(id) { $0.floor }
  }

  /// A request neither waits nor is served for now. Those behind it move up.
  ///
  /// - Parameter taken: what it has had, if it was being served.
  package mutating func suspend(_ id: RequestID, _ taken: Taken, at now: Instant) {
    guard let entry = entries[id], entry.state != .suspended else { return }
    if entry.state == .waiting {
      leave(id)
    } else {
      let spent = entry.spent + cost(of: taken, entry)
      entries[id]?.spent = spent
      // As of one that was put back: it will be served once more, and is charged for that already.
      charge(id, spent + expectedCost(of: entry))
      stay(id, at: now)
    }
    entries[id]?.state = .suspended
  }

  /// A suspended request waits again where it stood.
  package mutating func resume(_ id: RequestID) {
    guard let entry = entries[id], entry.state == .suspended else { return }
    entries[id]?.state = .waiting
    // Its user had had less than those who have had the same now.
    enterLine(id) { $0.floor - 1 }
  }

  /// A request has ended, wherever it stood.
  package mutating func remove(_ id: RequestID, _ taken: Taken = .nothing) {
    guard let entry = entries[id] else { return }
    if entry.state == .waiting { leave(id) }
    if let lane = entry.chargedIn, isFair {
      charge(id, entry.spent + (entry.state == .served ? cost(of: taken, entry) : 0))
      change(lane) { $0.end(of: entry.share.user) }
    }
    kinds.leave(entry.kind)
    models.leave(entry.model)
    entries[id] = nil
  }

  /// Gives a request that waits or is suspended another level.
  mutating func move(_ id: RequestID, toLevel level: Int, at now: Instant) {
    guard let entry = entries[id], entry.state != .served, entry.level != level else { return }
    // It is past the turns of the first level already.
    guard !entry.isAged || level > 0 else { return }
    guard entry.state == .waiting else {
      entries[id]?.level = level
      return
    }
    leave(id)
    entries[id]?.level = level
    // What had a turn has none in this level: it comes among the next.
    if entry.chargedIn != nil, isFair { entries[id]?.turn = counters[Lane(level: level, pool: entry.pool)]?.floor ?? 0 }
    enter(id, at: now)
  }

  /// Puts a request before all turns. Its user is charged for it now: the others of its user's keep theirs.
  private mutating func liftPastTurns(_ id: RequestID) {
    guard let key = key(of: id), let entry = entries[id] else { return }
    remove(key, entry.kind, entry.model)
    giveTurn(id)
    entries[id]?.level = Self.aged
    entries[id]?.turn = 0
    enterLine(id) { $0.floor }
  }

  /// What users are entitled to has changed.
  mutating func reclassify(_ share: (RequestID) -> DispatchRequest.Share?, at now: Instant) {
    let changed = entries.keys.sorted().filter { id in share(id).map { $0 != entries[id]?.share } ?? false }
    guard !changed.isEmpty else { return }
    for id in changed {
      guard let new = share(id), let old = entries[id]?.share else { continue }
      entries[id]?.share = new
      // Whoever was moved by age or by an operator stays there, unless it is the class that moves.
      guard new.priority != old.priority else { continue }
      entries[id]?.level = UserClass.bounded(priority: new.priority)
      stay(id, at: now)
    }
    renew { $0 }
  }

  /// Lifts those that have waited for long.
  /// - Returns: those that were lifted, in the order in which their time came.
  @discardableResult
  package mutating func age(at now: Instant) -> [RequestID] {
    guard let aging else { return [] }
    var lifted: [RequestID] = []
    for stay in stays.due(aging, at: now) {
      guard let entry = entries[stay.id], Self.isStay(stay, entry) else { continue }
      if entry.state == .waiting, entry.level > 0 {
        move(stay.id, toLevel: entry.level - 1, at: now)
      } else if entry.state == .waiting, isFirst(entry, stay.id) {
        liftPastTurns(stay.id)
      } else {
        // It is away, or others of its user's come first.
        self.stay(stay.id, at: now)
        continue
      }
      lifted.append(stay.id)
    }
    return lifted
  }

  /// Whether turns alone hold it back, and none of its user's stand before it.
  private func isFirst(_ entry: Entry, _ id: RequestID) -> Bool {
    guard isFair, !agedUsers.contains(entry.share.user) else { return false }
    // What was put back has had its turn.
    return entry.chargedIn != nil || counters[entry.lane]?.isFirst(id, of: entry.share.user) == true
  }

  // MARK: The line

  private mutating func enter(_ id: RequestID, at now: Instant) {
    stay(id, at: now)
    enterLine(id) { $0.floor }
  }

  private mutating func enterLine(_ id: RequestID, floor: (TokenCounters) -> Int) {
    guard let entry = entries[id] else { return }
    if entry.isAged { agedUsers.insert(entry.share.user) }
    guard isInLine(entry) else {
      return insert(Key(level: entry.level, turn: entry.turn, id: id), entry.kind, entry.model)
    }
    let place = TokenCounters.Place(
      id: id, cost: expectedCost(of: entry), kind: entry.kind, model: entry.model)
    let turn = change(entry.lane) { counters in
      let floor = floor(counters)
      return counters.enter(place, of: entry.share.user, floor: floor)
    }
    insert(Key(level: entry.level, turn: turn, id: id), entry.kind, entry.model)
  }

  /// Takes a waiting request out, wherever it stands. Its key may be an old one.
  private mutating func leave(_ id: RequestID) {
    guard let entry = entries[id] else { return }
    var turn = entry.turn
    if isInLine(entry) { turn = change(entry.lane) { $0.leave(id, of: entry.share.user) }?.turn ?? turn }
    if entry.isAged { agedUsers.remove(entry.share.user) }
    remove(Key(level: entry.level, turn: turn, id: id), entry.kind, entry.model)
  }

  private mutating func stay(_ id: RequestID, at now: Instant) {
    entries[id]?.since = now
    guard let entry = entries[id], !entry.isAged else { return }
    stays.append(id, since: now)
    guard stays.count > 2 * entries.count + 100 else { return }
    let known = entries
    stays.keep { Self.isStay($0, known[$0.id]) }
  }

  /// Whether it has been in its level since then.
  private static func isStay(_ stay: AgingLine.Stay, _ entry: Entry?) -> Bool {
    entry.map { $0.state != .served && $0.since == stay.since } ?? false
  }

  // MARK: Beginning anew

  /// What the order goes by has changed: as if it had been so since those came who are here. Whoever is being served
  /// has had what that is expected to take, and nobody is lifted: all have waited together.
  ///
  /// - Parameter successor: where the users of a lane are compared from now on: they keep what they have had, and
  ///   whoever is new there comes among the others. nil where the lane is no more.
  mutating func renew(_ successor: (Lane) -> Lane?) {
    var kept: [Lane: TokenCounters] = [:]
    for (lane, counters) in counters { successor(lane).map { kept[$0] = counters.withoutRequests } }
    (all, counters, shifted, agedUsers) = (RankedSet(), kept, [], [])
    kinds.removeAllKeys()
    models.removeAllKeys()
    let ids = entries.keys.sorted()
    for id in ids {
      entries[id].map { entries[id]?.pool = pools.number(of: models.name(of: $0.model) ?? nil) }
      guard let entry = entries[id] else { continue }
      // Without turns nobody is past them.
      if entry.isAged, !isFair { entries[id]?.level = 0 }
      guard let lane = entry.chargedIn else { continue }
      if successor(lane) == entry.lane, kept[entry.lane]?.knows(entry.share.user) == true {
        entries[id]?.chargedIn = entry.lane
        change(entry.lane) { $0.comesBack(entry.share.user) }
      } else {
        entries[id]?.spent = 0
        takeTurn(id)
      }
    }
    let waiting = ids.filter { entries[$0]?.state == .waiting }
    func isKnown(_ id: RequestID) -> Bool { entries[id].map { kept[$0.lane]?.knows($0.share.user) == true } ?? false }
    for id in waiting where isKnown(id) { enterLine(id) { _ in .min } }
    for id in waiting where !isKnown(id) {
      let isAmongOthers = entries[id].map { kept[$0.lane] != nil } ?? false
      enterLine(id) { isAmongOthers ? $0.floor : .min }
    }
  }

  private mutating func takeTurn(_ id: RequestID) {
    guard let entry = entries[id] else { return }
    let cost = expectedCost(of: entry)
    entries[id]?.chargedIn = entry.lane
    entries[id]?.charged = cost
    let turn = isFair ? change(entry.lane) { $0.takeOver(cost, of: entry.share.user) } : 0
    entries[id]?.turn = entry.isAged ? 0 : turn
  }
}
