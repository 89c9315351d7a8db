/// Requests whose clients are away for now, and what changes the order of service from outside.
extension Dispatch {
  /// Of one user; of more those end first that have been suspended for longest. They take no place that another one
  /// could have, so no limit counts them; but each takes memory.
  static let mostSuspended = 20

  /// A request's client is away. If it waits, those behind it move up; if it runs, its slot is released, and it stands
  /// where it stood before that was given, which counts as no failed attempt. It keeps its place in the order of
  /// arrival, and the maximum wait does not run. There is room for ``mostSuspended`` of a user, and for as many of all
  /// as may wait.
  ///
  /// - Parameter tokens: of its answer so far, about.
  /// - Returns: nil if there is no such request.
  package mutating func suspend(_ id: RequestID, tokens: Int = 0, at now: Instant) -> [DispatchAction]? {
    guard let phase = requests[id]?.phase else { return nil }
    progressed(id, answerTokens: tokens, at: now)
    guard let record = requests[id] else { return nil }
    var actions: [DispatchAction] = []
    var waited = Duration.zero
    switch phase {
    case .suspended: return []
    case .waiting(let since):
      line(of: record.request) { $0.callUp(id) }
      count(record.request, waiting: -1)
      waited = now - since
    case .assigned:
      release(id, at: now)
      actions.append(.withdraw(id))
    }
    noteSuspended(record.request)
    order.suspend(id, taken(by: record, .cancelled), at: now)
    requests[id]?.phase = .suspended(waited: waited)
    // What follows is not the wait that was foreseen.
    requests[id]?.promise = nil
    // Its answer begins anew.
    requests[id]?.answerStatus = nil
    requests[id]?.answerTokens = 0
    revision += 1
    return actions + endSuspended(beside: record.request, at: now) + assignFreeSlots(at: now)
  }

  private mutating func endSuspended(beside last: DispatchRequest, at now: Instant) -> [DispatchAction] {
    var ended: RequestID?
    if let own = suspendedByUser[last.share.user], own.count > Self.mostSuspended {
      ended = own[0]
    } else if suspendedCount > limits.waitingRequests {
      ended = last.id
    }
    guard let ended else { return [] }
    forget(ended, .cancelled, at: now)
    return [.end(ended, .cancelled)]
  }

  mutating func noteSuspended(_ request: DispatchRequest) {
    suspendedCount += 1
    suspendedByUser[request.share.user, default: []].append(request.id)
  }

  mutating func noteSuspendedNoMore(_ request: DispatchRequest) {
    suspendedCount -= 1
    suspendedByUser[request.share.user]?.removeAll { $0 == request.id }
    if suspendedByUser[request.share.user]?.isEmpty == true { suspendedByUser[request.share.user] = nil }
  }

  /// A suspended request's client is back: it waits again where it stood. It was accepted before, so that no limit
  /// forbids it.
  ///
  /// - Returns: nil if there is no such request; nothing follows where it is not suspended.
  package mutating func resume(_ id: RequestID, at now: Instant) -> [DispatchAction]? {
    guard let record = requests[id] else { return nil }
    guard case .suspended(let waited) = record.phase else { return [] }
    noteSuspendedNoMore(record.request)
    count(record.request, waiting: 1)
    line(of: record.request) { $0.putBack(id) }
    order.resume(id)
    requests[id]?.phase = .waiting(since: now - waited)
    revision += 1
    // It may have waited for too long before.
    return expire(at: now) + refuseUnserved(at: now) + refuseWaitingWriters(at: now) + assignFreeSlots(at: now)
  }

  package enum PriorityAnswer: String, Hashable, Sendable {
    case changed
    /// It is being served already, or needs no slot: nothing was changed.
    case notWaiting
    case unknown
  }

  /// An operator moves a request that waits or is suspended to another priority, where its place follows from what its
  /// user has had there.
  ///
  /// - Parameter priority: of ``UserClass/priorities``; what is beyond counts as the nearest.
  package mutating func setPriority(_ id: RequestID, _ priority: Int, at now: Instant) -> PriorityAnswer {
    guard let record = requests[id] else { return .unknown }
    if case .assigned = record.phase { return .notWaiting }
    guard record.request.need == .slot else { return .notWaiting }
    order.move(id, toLevel: UserClass.bounded(priority: priority), at: now)
    requests[id]?.promise = nil
    revision += 1
    return .changed
  }

  /// Classes have changed: requests that are open count by what their users are entitled to now.
  ///
  /// - Parameter share: nil for what stays as it is. Its user must be the same.
  package mutating func reclassify(_ share: (RequestID) -> DispatchRequest.Share?, at now: Instant) -> [DispatchAction]
  {
    var shares: [RequestID: DispatchRequest.Share] = [:]
    for (id, record) in requests {
      guard let new = share(id), new.user == record.request.share.user else { continue }
      shares[id] = new
      requests[id]?.request.share = new
      if new.priority != record.request.share.priority { requests[id]?.promise = nil }
    }
    order.reclassify({ shares[$0] }, at: now)
    revision += 1
    return assignFreeSlots(at: now)
  }
}
