import DequeModule

/// What each user has had, in virtual tokens, and when whose turn is: the Virtual Token Counter of Sheng et al.
/// ("Fairness in Serving Large Language Models", OSDI 2024), with length prediction.
///
/// A user is charged for a request when its turn comes, with what it is expected to take; what it really took is put
/// right while it is answered and at its end. So the turns of all that wait are known ahead: a user's next request has
/// its turn at what the user has had, and each further one after what those before it will take. Whoever comes back
/// from a pause is lifted to the user who has had the least of those that wait, so that nobody saves up.
///
/// What a user has had shifts the turns of all that the user has waiting. That is only noted, in O(log n) however many
/// they are; ``settle()`` tells the new turns, once for all that came together.
///
/// Whole numbers, so that a sum does not depend on the way to it.
struct TokenCounters: Sendable {
  /// A request that waits, in its user's line.
  struct Place: Sendable {
    let id: RequestID
    /// What it is expected to take.
    let cost: Int
    /// Of its kind and of its model, see ``KeyGroups``.
    let kind: Int
    let model: Int
    /// As it was told last.
    fileprivate(set) var turn = 0

    init(id: RequestID, cost: Int, kind: Int, model: Int) {
      self.id = id
      self.cost = cost
      self.kind = kind
      self.model = model
    }
  }

  /// A request's turn has changed: its place with the new one, and the one before.
  typealias Shift = (place: Place, before: Int)

  private struct User: Sendable {
    let number: Int
    var had = 0
    /// What waits, in the order of arrival.
    var line: Deque<Place> = []
    /// Of all in the line.
    var expected = 0
    /// Requests that wait, and those that were charged and have not ended.
    var open = 0
    /// Whether the turns that were told are the right ones no longer.
    var isShifted = false
  }

  /// A user who has something waiting.
  private struct Contender: Comparable, Sendable {
    let had: Int
    let number: Int
    static func < (one: Self, other: Self) -> Bool { (one.had, one.number) < (other.had, other.number) }
  }

  /// Beyond so many who have nothing open, those who have had the least are forgotten. They begin as those who come
  /// anew.
  private static let mostIdle = 10_000

  private var users: [UserID: User] = [:]
  private var known = 0
  private var idle = 0
  private var contenders = RankedSet<Contender>()
  private var shifted: [UserID] = []
  /// How many places those have, about, whose turns have shifted.
  private(set) var shiftedPlaces = 0
  /// Whose turn was last: where nobody waits, whoever comes is lifted to what this one has had.
  private var last: UserID?

  /// The same users with what they have had, of whom nothing waits or is being served.
  var withoutRequests: TokenCounters {
    var counters = TokenCounters()
    counters.users = users.mapValues { User(number: $0.number, had: $0.had) }
    (counters.known, counters.idle, counters.last) = (known, users.count, last)
    return counters
  }

  func knows(_ user: UserID) -> Bool { users[user] != nil }

  /// What a user has had at least who begins to wait now.
  var floor: Int { contenders.first?.had ?? last.flatMap { users[$0]?.had } ?? 0 }
  var userCount: Int { users.count }

  /// The turn of a request that a user would bring now.
  func nextTurn(of user: UserID) -> Int {
    guard let record = users[user] else { return floor }
    return record.line.isEmpty ? max(record.had, floor) : record.had + record.expected
  }

  /// Whether a request is the first of those that wait of its user.
  func isFirst(_ id: RequestID, of user: UserID) -> Bool { users[user]?.line.first?.id == id }

  var hasShifted: Bool { !shifted.isEmpty }

  // MARK: The line

  /// A request begins to wait.
  /// - Parameter floor: what its user has had at least where nothing else of the user's waits.
  /// - Returns: its turn, which may be the wrong one until ``settle()``.
  mutating func enter(_ place: Place, of user: UserID, floor: Int) -> Int {
    open(user)
    // In place: a copy of a long line would cost more than all the rest.
    let turn = change(user) { record in
      if record.line.isEmpty { record.had = max(record.had, floor) }
      var place = place
      place.turn = record.had + record.expected
      record.expected += place.cost
      // What age moves here may have come before others.
      if let last = record.line.last, last.id > place.id {
        record.line.insert(place, at: Self.index(of: place.id, in: record.line))
        record.isShifted = true
      } else {
        record.line.append(place)
      }
      return place.turn
    }
    return turn
  }

  /// One that waits gives up, or begins to wait elsewhere.
  mutating func leave(_ id: RequestID, of user: UserID) -> Place? {
    guard users[user] != nil else { return nil }
    let place = change(user) { record -> Place? in
      guard let (place, index) = Self.take(id, &record) else { return nil }
      record.isShifted = record.isShifted || index < record.line.count
      return place
    }
    if place != nil { close(user) }
    return place
  }

  /// The turn of one that waits has come: its user is charged.
  mutating func serve(_ id: RequestID, of user: UserID) -> Place? {
    guard users[user] != nil else { return nil }
    last = user
    return change(user) { record in
      guard let (place, index) = Self.take(id, &record) else { return nil }
      record.had += place.cost
      // Those that it has overtaken.
      record.isShifted = record.isShifted || index > 0
      return place
    }
  }

  /// Where a request stands; after ``settle()``.
  func turn(of id: RequestID, of user: UserID) -> Int? {
    guard let line = users[user]?.line else { return nil }
    let index = Self.index(of: id, in: line)
    return index < line.count && line[index].id == id ? line[index].turn : nil
  }

  // MARK: Charges

  /// A request that had its turn elsewhere counts here: its user is charged.
  /// - Returns: its turn.
  mutating func takeOver(_ cost: Int, of user: UserID) -> Int {
    open(user)
    last = user
    return change(user) { record in
      record.had += cost
      record.isShifted = record.isShifted || !record.line.isEmpty
      return record.had - cost
    }
  }

  /// A request that is charged already counts here from now on.
  mutating func comesBack(_ user: UserID) { open(user) }

  /// A user has had more, or less, than was charged.
  mutating func charge(_ user: UserID, _ cost: Int) {
    guard cost != 0, users[user] != nil else { return }
    change(user) { record in
      record.had += cost
      record.isShifted = record.isShifted || !record.line.isEmpty
    }
  }

  /// One that was charged has ended.
  mutating func end(of user: UserID) { close(user) }

  /// The turns that have changed since the last call.
  mutating func settle() -> [Shift] {
    var shifts: [Shift] = []
    for user in shifted where users[user] != nil {
      Self.settle(&users[user, default: User(number: 0)], into: &shifts)
    }
    shifted.removeAll(keepingCapacity: true)
    shiftedPlaces = 0
    return shifts
  }

  private static func settle(_ user: inout User, into shifts: inout [Shift]) {
    user.isShifted = false
    var turn = user.had
    for index in user.line.indices {
      let before = user.line[index].turn
      if before != turn {
        user.line[index].turn = turn
        shifts.append((user.line[index], before))
      }
      turn += user.line[index].cost
    }
  }

  // MARK: Users

  /// Changes a user's record, and keeps the contenders by it.
  private mutating func change<Result>(_ user: UserID, _ body: (inout User) -> Result) -> Result {
    let (result, before, after) = Self.change(&users[user, default: User(number: known)], body)
    if before.contender != after.contender {
      before.contender.map { contenders.remove($0) }
      after.contender.map { contenders.insert($0) }
    }
    if after.isShifted, !before.isShifted {
      shifted.append(user)
      shiftedPlaces += after.places
    }
    return result
  }

  private typealias Standing = (contender: Contender?, isShifted: Bool, places: Int)

  private static func change<Result>(
    _ user: inout User, _ body: (inout User) -> Result
  ) -> (Result, before: Standing, after: Standing) {
    func standing(_ user: borrowing User) -> Standing {
      (
        user.line.isEmpty ? nil : Contender(had: user.had, number: user.number), user.isShifted, user.line.count
      )
    }
    let before = standing(user)
    let result = body(&user)
    return (result, before, standing(user))
  }

  private mutating func open(_ user: UserID) {
    if users[user] == nil {
      users[user] = User(number: known)
      known += 1
    } else if users[user]?.open == 0 {
      idle -= 1
    }
    users[user]?.open += 1
  }

  private mutating func close(_ user: UserID) {
    guard let open = users[user]?.open, open > 0 else { return }
    users[user]?.open = open - 1
    if open == 1 {
      idle += 1
      if idle > Self.mostIdle { forget() }
    }
  }

  private mutating func forget() {
    let idle = users.filter { $0.value.open == 0 && $0.key != last }
    let kept = Set(
      idle.sorted { ($0.value.had, $0.value.number) > ($1.value.had, $1.value.number) }
        .prefix(Self.mostIdle / 2).map(\.key))
    for user in idle.keys where !kept.contains(user) {
      users[user] = nil
      self.idle -= 1
    }
  }

  private static func index(of id: RequestID, in line: Deque<Place>) -> Int {
    var (place, end) = (0, line.count)
    while place < end {
      let middle = (place + end) / 2
      if line[middle].id < id { place = middle + 1 } else { end = middle }
    }
    return place
  }

  private static func take(_ id: RequestID, _ user: inout User) -> (Place, index: Int)? {
    let index = index(of: id, in: user.line)
    guard index < user.line.count, user.line[index].id == id else { return nil }
    let place = user.line.remove(at: index)
    user.expected -= place.cost
    return (place, index)
  }
}
