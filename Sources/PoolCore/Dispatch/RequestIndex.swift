/// Requests in the order of their numbers, of all and of each user: a list that is cut short costs only what it shows.
package struct RequestIndex: Sendable {
  package private(set) var all = RankedSet<RequestID>()
  private var byUser: [UserID: RankedSet<RequestID>] = [:]

  package func of(_ user: UserID) -> RankedSet<RequestID> { byUser[user] ?? RankedSet() }

  /// Users who have any.
  var userCount: Int { byUser.count }

  mutating func insert(_ id: RequestID, of user: UserID) {
    all.insert(id)
    byUser[user, default: RankedSet()].insert(id)
  }

  mutating func remove(_ id: RequestID, of user: UserID) {
    all.remove(id)
    byUser[user]?.remove(id)
    if byUser[user]?.isEmpty == true { byUser[user] = nil }
  }
}
