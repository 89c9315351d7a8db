import OrderedCollections

/// What has gone on for too long.
extension Dispatch {
  /// Time has passed: probes fall due, limits run out.
  ///
  /// - Parameter progress: of a request that is being served; nil where there was nothing yet.
  package mutating func tick(at now: Instant, progress: (RequestID) -> RequestProgress?) -> [DispatchAction] {
    let lifted = order.age(at: now).compactMap { id in
      order.level(of: id).map { DispatchAction.lifted(id, toPriority: $0) }
    }
    for place in instances.values.indices {
      for id in instances.values[place].requests {
        guard let progress = progress(id) else { continue }
        progressed(id, questionTokens: progress.questionTokens, answerTokens: progress.answerTokens, at: now)
      }
    }
    var actions = lifted + expire(at: now) + refuseUnserved(at: now) + refuseWaitingWriters(at: now)
    for id in instances.keys { actions += overruns(of: id, at: now) { progress($0)?.movedAt } }
    return actions + probesDue(at: now) + listsDue(at: now) + assignFreeSlots(at: now) + preloadsDue(at: now)
      + reportIfDrained()
  }

  /// When `tick` has something to do at the latest. Streams are looked at each second.
  package func nextTick(at now: Instant) -> Instant {
    var next = now + .seconds(1)
    for place in instances.values.indices where !instances.values[place].probe.isOutstanding {
      next = min(next, instances.values[place].probe.due)
    }
    return max(now, next)
  }

  /// Ends what waited longer than the configured maximum, and at the drain's deadline all that still runs.
  mutating func expire(at now: Instant) -> [DispatchAction] {
    var actions: [DispatchAction] = []
    if let limit = limits.maximumWait {
      for line in [\Self.queue, \Self.callers, \Self.writers, \Self.leavers] {
        for id in overdue(in: self[keyPath: line], limit, at: now) {
          forget(id, .expired, at: now)
          actions.append(.end(id, .expired))
        }
      }
    }
    if let drainDeadline, drainDeadline <= now {
      for id in requests.keys.sorted() {
        forget(id, .failed(.shuttingDown), at: now)
        actions.append(.end(id, .failed(.shuttingDown)))
      }
    }
    return actions
  }

  /// What was put back stands where it arrived and waits anew, so the walk goes past it: to the first that has not even
  /// been here for so long, since those behind it came later.
  private func overdue(in line: WaitingLine, _ limit: Duration, at now: Instant) -> [RequestID] {
    var overdue: [RequestID] = []
    for rank in 0..<line.count {
      guard let id = line[rank], let record = requests[id], now - record.arrivedAt >= limit else { break }
      if case .waiting(let since) = record.phase, now - since >= limit { overdue.append(id) }
    }
    return overdue
  }

  /// Whether one of these has gone without a byte for longer than it may before its first one, or after that: each
  /// second all are looked at, and hardly ever one is.
  private static func isAnyIdle(
    of ids: Set<RequestID>, _ requests: [RequestID: Record], _ limits: (firstByte: Duration, stall: Duration),
    at now: Instant, _ lastProgress: (RequestID) -> Instant?
  ) -> Bool {
    ids.contains { id in
      guard case .assigned(_, _, let since, let begun) = requests[id]?.phase else { return false }
      let limit = begun == nil ? limits.firstByte : limits.stall
      let start = begun ?? since
      return now - start >= limit && now - max(start, lastProgress(id) ?? start) >= limit
    }
  }

  /// What follows from requests of this instance that have gone without a byte for too long.
  ///
  /// - A begun stream that stands still condemns the instance (`.stalled`).
  /// - A stream without a first byte does too (`.silent`). It is put back itself, once: the fault may be its own, and
  ///   it must not go from instance to instance. The second time it ends with `.noAnswer`.
  /// - Of an answer that is no stream the first byte is the last, so it may just have been long: it ends with
  ///   `.noAnswer`, since a second try would cost as much again, and counts as one error; as none beside a stream that
  ///   moves.
  /// - What is no inference says nothing of the instance, and ends alone. What changes the model store may take any
  ///   time: a download or a conversion that isn't streamed is silent until its end.
  private mutating func overruns(
    of id: InstanceID, at now: Instant, _ lastProgress: (RequestID) -> Instant?
  ) -> [DispatchAction] {
    guard let ids = instances.index(forKey: id).map({ instances.values[$0].requests }),
      Self.isAnyIdle(of: ids, requests, (limits.firstByteLimit, limits.stallTimeout), at: now, lastProgress)
    else { return [] }
    var actions: [DispatchAction] = []
    var fault: UnhealthyReason?
    var unanswered: FailedAttempt?
    var isMoving = false
    for request in ids.sorted() {
      guard let record = requests[request], record.request.need != .storeReference,
        case .assigned(_, let invocation, let since, let begun) = record.phase
      else { continue }
      let isInference = record.request.need == .slot
      let idle = now - max(since, begun ?? since, lastProgress(request) ?? since)
      if begun != nil {
        if idle < limits.stallTimeout {
          isMoving = isMoving || isInference
        } else if isInference {
          fault = .stalled(limits.stallTimeout)
        } else {
          forget(request, .failed(.instanceLost), at: now)
          actions.append(.end(request, .failed(.instanceLost)))
        }
        continue
      }
      guard idle >= limits.firstByteLimit else { continue }
      if isInference, record.request.streams {
        fault = fault ?? .silent(limits.firstByteLimit)
        // Goes back with the others that have not begun.
        if record.failedOn.isEmpty { continue }
      } else if isInference {
        unanswered = FailedAttempt(instance: id, invocation: invocation, since: since, failedAt: now)
      }
      forget(request, .failed(.noAnswer), at: now)
      actions.append(.end(request, .failed(.noAnswer)))
    }
    if let fault { return actions + becameUnhealthy(id, fault, at: now) }
    if let unanswered, !isMoving { actions += erred(unanswered, at: now) }
    return actions
  }
}
