import DequeModule

/// What each user has had, in virtual tokens, and when whose turn is: the Virtual Token Counter of Sheng et al.
/// ("Fairness in Serving Large Language Models", OSDI 2024), with length prediction.
///
/// A user is charged for a request when its turn comes, with what it is expected to take; what it really took is put
/// right at its end. So the turns of all that wait are known ahead: a user's next request has its turn at what the
/// user has had, and each further one after what those before it will take. Whoever comes back from a pause is lifted
/// to the user who has had the least of those that wait, so that nobody saves up.
///
/// Whole numbers, so that a sum does not depend on the way to it.
struct TokenCounters: Sendable {
  typealias Turn = (id: RequestID, turn: Int)

  private struct User: Sendable {
    var had = 0
    /// What waits, in the order of arrival, each with what it is expected to take.
    var line: Deque<(id: RequestID, cost: Int)> = []
    /// Of all in the line.
    var expected = 0
  }

  /// Beyond so many, those who have had the least and don't wait are forgotten. They begin as those who come anew.
  private static let mostRemembered = 10_000

  private var users: [UserID: User] = [:]
  /// Whose turn was last: where nobody waits, whoever comes is lifted to what this one has had.
  private var last: UserID?

  /// A request begins to wait.
  /// - Parameters:
  ///   - cost: what it is expected to take.
  ///   - least: what the user of the next turn has had; nil where nobody waits.
  /// - Returns: its turn, and those that it has changed.
  mutating func enter(_ id: RequestID, of user: UserID, cost: Int, least: Int?) -> [Turn] {
    if users[user] == nil, users.count >= Self.mostRemembered { forget() }
    let floor = least ?? last.flatMap { users[$0]?.had } ?? 0
    // In place: a copy of a long line would cost more than all the rest.
    return Self.enter(id, cost, floor, &users[user, default: User()])
  }

  private static func enter(_ id: RequestID, _ cost: Int, _ floor: Int, _ user: inout User) -> [Turn] {
    if user.line.isEmpty { user.had = max(user.had, floor) }
    // What age moves here may have come before others.
    let place = user.line.lastIndex { $0.id < id }.map { $0 + 1 } ?? 0
    user.line.insert((id, cost), at: place)
    user.expected += cost
    let isLast = place == user.line.count - 1
    return isLast ? [(id, user.had + user.expected - cost)] : Array(turns(of: user)[place...])
  }

  /// One that waits gives up.
  /// - Returns: the turns that this has changed.
  mutating func leave(_ id: RequestID, of user: UserID) -> [Turn] {
    guard let place = take(id, of: user)?.place, let record = users[user] else { return [] }
    return place == record.line.count ? [] : Array(Self.turns(of: record)[place...])
  }

  /// The turn of one that waits has come: its user is charged.
  /// - Returns: the turns that this has changed: of those that it has overtaken.
  mutating func serve(_ id: RequestID, of user: UserID) -> [Turn] {
    guard let (place, cost) = take(id, of: user) else { return [] }
    users[user]?.had += cost
    last = user
    return place == 0 ? [] : Array(Self.turns(of: users[user] ?? User())[..<place])
  }

  /// A user has had more, or less, than was charged.
  /// - Returns: the turns that this has changed.
  mutating func charge(_ user: UserID, _ cost: Int) -> [Turn] {
    guard cost != 0, users[user] != nil else { return [] }
    users[user]?.had += cost
    return Self.turns(of: users[user] ?? User())
  }

  private mutating func take(_ id: RequestID, of user: UserID) -> (place: Int, cost: Int)? {
    guard let line = users[user]?.line else { return nil }
    var (place, end) = (0, line.count)
    while place < end {
      let middle = (place + end) / 2
      if line[middle].id < id { place = middle + 1 } else { end = middle }
    }
    guard place < line.count, line[place].id == id else { return nil }
    let cost = users[user]?.line.remove(at: place).cost ?? 0
    users[user]?.expected -= cost
    return (place, cost)
  }

  private static func turns(of user: User) -> [Turn] {
    var turn = user.had
    return user.line.map { entry in
      defer { turn += entry.cost }
      return (entry.id, turn)
    }
  }

  private mutating func forget() {
    let idle = users.filter { $0.value.line.isEmpty && $0.key != last }
    let kept = Set(
      idle.sorted { ($0.value.had, $0.key) > ($1.value.had, $1.key) }.prefix(Self.mostRemembered / 2).map(\.key))
    for user in idle.keys where !kept.contains(user) { users[user] = nil }
  }
}
