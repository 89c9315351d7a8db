import PoolCore

/// What is always true of users: their limits, what counts against them, and whose turn it is.
extension Invariants {
  /// What this is checked for in every so many steps: it takes longer than a step.
  private static let interval = 16

  mutating func check(_ dispatch: Dispatch, _ accounts: Accounts, step: Int, at now: Instant) {
    checkOpen(dispatch)
    guard step.isMultiple(of: Self.interval) else { return }
    checkOrder(dispatch)
    for user in accounts.users {
      let (told, known) = (dispatch.usage.usage(of: user, at: now), accounts.usage(of: user, at: now))
      if told != known { note("\(user) is said to have used \(told), and has used \(known)") }
    }
  }

  /// Nothing is accepted beyond a limit.
  mutating func accepted(_ request: SimulatedRequest, _ dispatch: Dispatch, _ accounts: Accounts, at now: Instant) {
    let (user, limits) = (request.share.user, request.share.limits)
    let usage = accounts.usage(of: user, at: now)
    if let most = limits.requestsPerHour, usage.requests > most { note("\(user) asked \(usage.requests) times") }
    if let most = limits.tokensPerHour, usage.tokens - request.inputTokens >= most {
      note("\(user) was accepted with \(usage.tokens) tokens")
    }
    let open = dispatch.open(of: user)
    if let most = limits.concurrent, open.total > most { note("\(user) has \(open.total) open requests") }
  }

  /// Counts are what they count.
  private mutating func checkOpen(_ dispatch: Dispatch) {
    var open: [UserID: OpenRequests] = [:]
    var suspended: Set<RequestID> = []
    for (id, record) in dispatch.requests {
      if case .suspended = record.phase {
        suspended.insert(id)
        continue
      }
      guard record.request.need.isInference else { continue }
      open[record.request.share.user, default: OpenRequests()].count(record.phase)
    }
    if dispatch.index.all.elements != dispatch.requests.keys.sorted() { note("the index is not of all requests") }
    if open != dispatch.openByUser { note("\(open) are open, \(dispatch.openByUser) are counted") }
    let byUser = dispatch.suspendedByUser
    if Set(byUser.values.joined()) != suspended || byUser.values.contains([]) {
      note("\(suspended) are suspended, \(byUser) are counted by user")
    }
    if suspended.count != dispatch.suspendedCount {
      note("\(suspended) are suspended, \(dispatch.suspendedCount) are counted")
    }
    if let id = suspended.first(where: { dispatch.order.isWaiting($0) || dispatch.queue.isWaiting($0) }) {
      note("request \(id) is suspended and waits")
    }
  }

  /// The order that is told is the one in which they are served if nothing else comes, and ranks are places in it.
  private mutating func checkOrder(_ dispatch: Dispatch) {
    var order = dispatch.order
    let told = order.waiting
    for (rank, id) in told.enumerated() where order.ahead(of: id) != rank {
      note("request \(id) is at \(rank), and \(order.ahead(of: id) ?? -1) are said to be before it")
    }
    for id in told {
      guard order[0] == id else { return note("request \(order[0]?.number ?? 0) comes before request \(id)") }
      order.callUp(id)
    }
  }

  mutating func moved(_ id: RequestID, to priority: Int, dispatch: Dispatch?) {
    if dispatch?.order.level(of: id) != priority { note("request \(id) did not get priority \(priority)") }
  }
}

extension OpenRequests {
  fileprivate mutating func count(_ phase: RequestPhase) {
    switch phase {
    case .waiting: waiting += 1
    case .assigned: running += 1
    case .suspended: break
    }
  }
}
