import OrderedCollections
import PoolCore

/// Requests at the instances, and what the dispatcher's shell does with them.
extension PoolSimulation {
  mutating func arrive(_ id: RequestID) {
    guard let request = requests[id] else { return }
    waitingSince[id] = now
    accounts.arrives(id, request, at: now)
    apply(dispatch: { $0.arrive(request.dispatched(as: id), at: $1) })
    if request.need.isInference, let dispatch, dispatch.requests[id] != nil {
      invariants.accepted(request, dispatch, accounts, at: now)
    }
  }

  /// A durable request whose dispatcher died; its client comes back in a while.
  mutating func restore(_ id: RequestID) {
    guard let request = requests[id], results[id] == nil else { return }
    waited[id] = .zero
    apply(dispatch: { $0.restore(request.dispatched(as: id), isSuspended: true, at: $1) })
    after(.zero...(.seconds(5)), .clientReturns(id))
  }

  mutating func suspend(_ id: RequestID) {
    guard results[id] == nil, requests[id]?.isReplayable == true, let record = dispatch?.requests[id] else { return }
    if case .suspended = record.phase { return }
    var isWaiting = false
    if case .waiting = record.phase { isWaiting = true }
    let tokens = progress(id)?.answerTokens ?? 0
    accounts.answered(id, tokens, at: now)
    accounts.answersAnew(id)
    apply(dispatch: { $0.suspend(id, tokens: tokens, at: $1) ?? [] })
    waited[id] = isWaiting ? now - (waitingSince[id] ?? now) : .zero
  }

  mutating func resume(_ id: RequestID) {
    guard results[id] == nil, case .suspended = dispatch?.requests[id]?.phase else { return }
    waitingSince[id] = now - (waited.removeValue(forKey: id) ?? .zero)
    apply(dispatch: { $0.resume(id, at: $1) ?? [] })
  }

  mutating func attempt(_ id: RequestID, on instance: InstanceID) {
    // What came while earlier actions were carried out may have overtaken this one.
    guard let request = requests[id], case .assigned(instance, _, _, nil) = dispatch?.requests[id]?.phase else {
      return
    }
    if request.need == .storeReference { invariants.writes(id, on: instance, requests: requests, attempts: attempts) }
    attemptsMade += 1
    let number = attemptsMade
    let isFirst = attempted.insert(id).inserted
    guard let unit = units[instance], dispatch?.instances[instance]?.wanted.invocation == unit.invocation,
      !unit.isStopping
    else {
      attempts[id] = Attempt(instance: instance, invocation: "gone", number: number, isFirst: isFirst, since: now)
      return after(settings.latency, .attemptFails(id, attempt: number, .refused))
    }
    if request.need == .slot { checkLoads(id, request, on: instance, unit.invocation) }
    attempts[id] = Attempt(
      instance: instance, invocation: unit.invocation, number: number, isFirst: isFirst, since: now)
    if request.needsNetwork { invariants.needsNetwork(id, on: instance, unit, settings.fleetLimits) }
    let faults = isCalm ? SimulationSettings.Faults() : settings.faults
    let isTooLarge = unit.errs && request.need == .slot && !id.number.isMultiple(of: 4)
    if random.happens(faults.answersWithError) || isTooLarge {
      return after(settings.latency, .attemptFails(id, attempt: number, .status(500)))
    }
    if request.need == .slot, id.number.isMultiple(of: 5), random.happens(faults.breaks) {
      return after(settings.latency, .attemptFails(id, attempt: number, .broken))
    }
    let silence = random.duration(settings.firstByte) + (request.streams ? .zero : request.service)
    let ready = request.need == .slot ? use(request.kind, on: instance, unit.invocation) : nil
    events.schedule(.firstByte(id, attempt: number), at: (ready ?? now) + silence)
    guard request.need == .slot else { return }
    if random.happens(faults.instanceDies) {
      after(.zero...(.seconds(40)), .instanceDies(instance, unit.invocation))
    } else if random.happens(faults.streamStalls) {
      units[instance]?.stalledAt = unit.stalledAt ?? now
    }
  }

  private mutating func checkLoads(
    _ id: RequestID, _ request: SimulatedRequest, on instance: InstanceID, _ invocation: InvocationID
  ) {
    let others = attempts.filter { other, attempt in
      attempt.invocation == invocation && !attempt.hasBegun && requests[other]?.need == .slot
    }
    invariants.joined(
      id, request.model, on: instance, shown: shown[invocation] ?? [],
      loading: others.keys.compactMap { requests[$0]?.model } + [loads[invocation]].compactMap { $0 })
  }

  mutating func firstByte(_ id: RequestID, _ number: Int) {
    guard let request = requests[id], let attempt = attempts[id], attempt.number == number, isServing(id) else {
      return
    }
    attempts[id]?.begunAt = now
    accounts.begun(id)
    if request.need == .slot {
      units[attempt.instance]?.answered()
      if let model = request.model { shown[attempt.invocation, default: []].insert(model) }
    }
    apply(dispatch: { $0.begin(id, status: 200, at: $1) })
    events.schedule(.answered(id, attempt: number), at: now + (request.streams ? request.service : .zero))
  }

  mutating func answered(_ id: RequestID, _ number: Int) {
    guard attempts[id]?.number == number, isServing(id) else { return }
    attempts[id] = nil
    let tokens = requests[id]?.outputTokens ?? 0
    accounts.answered(id, tokens, at: now)
    finish(id, .served)
    apply(dispatch: { $0.end(id, .served, tokens: tokens, at: $1) })
  }

  mutating func fail(_ id: RequestID, _ attempt: Attempt, _ failure: AttemptFailure) {
    attempts[id] = nil
    guard dispatch != nil, let request = requests[id] else { return }
    if attempt.hasBegun { return lose(id, .truncated) }
    guard request.isReplayable else { return lose(id, .instanceLost) }
    if failure != .refused, request.need == .slot { units[attempt.instance]?.failed(id, at: now) }
    var verdict = AttemptVerdict.wait
    waitingSince[id] = now
    apply(dispatch: {
      let (decided, actions) = $0.attemptFailed(id, failure, at: $1)
      verdict = decided
      return actions
    })
    switch verdict {
    case .wait: break
    case .passOn:
      apply(dispatch: { $0.begin(id, status: 500, at: $1) })
      lose(id, .upstreamError)
    case .fail(let failure): finish(id, .failed(failure))
    }
  }

  /// The exchange is over, whatever the core would make of it.
  private mutating func lose(_ id: RequestID, _ failure: RequestFailure) {
    finish(id, .failed(failure))
    apply(dispatch: { $0.end(id, .failed(failure), at: $1) })
  }

  /// What the core orders of an attempt.
  mutating func withdraw(_ id: RequestID) {
    attempts[id] = nil
    waitingSince[id] = now
    if requests[id]?.isReplayable == false { lose(id, .instanceLost) }
  }

  mutating func end(_ id: RequestID, _ outcome: RequestOutcome) {
    if let request = requests[id], let attempt = attempts[id] {
      switch outcome {
      case .failed(.instanceLost) where attempt.hasBegun && isServing(id) && isWell(attempt):
        invariants.cut(id, on: attempt.instance)
      case .failed(.noAnswer):
        invariants.unanswered(id, request, attempt, settings.dispatchLimits, at: now)
        if request.need == .slot, !request.streams, !isMoving(attempt.instance) {
          units[attempt.instance]?.gaveNoAnswer(id, at: now)
        }
      default: break
      }
    }
    if outcome == .expired { invariants.expired(id, after: now - (waitingSince[id] ?? .zero), settings.dispatchLimits) }
    finish(id, outcome)
  }

  mutating func finish(_ id: RequestID, _ outcome: RequestOutcome) {
    attempts[id] = nil
    invariants.ended(id, before: results[id])
    results[id] = .ended(outcome, at: now)
    accounts.ended(id, outcome)
  }

  // MARK: What the world knows

  /// Whether bytes of an answer come, or would when their time has come. A runner that hangs stops no download.
  func isServing(_ id: RequestID) -> Bool {
    guard let attempt = attempts[id], let unit = units[attempt.instance], unit.invocation == attempt.invocation else {
      return false
    }
    return unit.stalledAt == nil || requests[id]?.need != .slot
  }

  /// Whether nothing is known that would take requests away from there.
  private func isWell(_ attempt: Attempt) -> Bool {
    isAnswering(attempt.instance, attempt.invocation) && !isStalled(attempt.instance)
      && dispatch?.instances[attempt.instance]?.wanted.invocation == attempt.invocation
  }

  /// Whether a stream of inference comes from there.
  private func isMoving(_ instance: InstanceID) -> Bool {
    attempts.contains { id, attempt in
      attempt.instance == instance && attempt.hasBegun && requests[id]?.need == .slot && isServing(id)
    }
  }

  /// When a request last moved.
  var progress: (RequestID) -> RequestProgress? {
    { [attempts, units, requests, now] id in
      guard let attempt = attempts[id], attempt.hasBegun else {
        return attempts[id].map { RequestProgress(movedAt: $0.since) }
      }
      guard let unit = units[attempt.instance], unit.invocation == attempt.invocation else { return nil }
      guard let request = requests[id], request.need == .slot else { return RequestProgress(movedAt: now) }
      let movedAt = unit.stalledAt ?? now
      let part = (movedAt - (attempt.begunAt ?? movedAt)).seconds / max(0.001, request.service.seconds)
      let tokens = Int(Double(request.outputTokens) * min(1, max(0, request.streams ? part : 1)))
      return RequestProgress(movedAt: movedAt, answerTokens: tokens)
    }
  }
}

extension PoolSimulation.Unit {
  /// Inference began to be answered.
  mutating func answered() { failures = [] }

  mutating func failed(_ request: RequestID, at now: Instant) { failures.append(.init(request: request, at: now)) }

  /// The same of a request that had no answer in time: several at once speak of one cause.
  mutating func gaveNoAnswer(_ request: RequestID, at now: Instant) {
    if failures.last?.at != now { failed(request, at: now) }
  }
}
