import OrderedCollections

/// What speaks for and against an instance although it answers probes, and what follows from it.
///
/// What counts is inference: that a list of models comes says nothing of the GPU.
extension Dispatch {
  /// An attempt that a certain life of an instance failed.
  struct FailedAttempt: Hashable, Sendable {
    let instance: InstanceID
    let invocation: InvocationID
    /// When the request was given to it.
    let since: Instant
    let failedAt: Instant
  }

  /// An answer has begun that is none of the instance's own errors.
  mutating func answered(_ id: InstanceID, at now: Instant) {
    instances[id]?.failures = DispatchedInstance.Failures(since: now)
  }

  /// An instance failed a request that was none the worse for it: another one served it, or there was no answer at all.
  ///
  /// It doesn't count if a request that was sent later was answered, or one counted already that ran beside it:
  /// requests at one time have one cause, and may just be too much together.
  mutating func erred(_ attempt: FailedAttempt, at now: Instant) -> [DispatchAction] {
    guard let instance = instances[attempt.instance], instance.wanted.invocation == attempt.invocation,
      instance.failures.since.map({ $0 <= attempt.since }) ?? true
    else { return [] }
    let failures = DispatchedInstance.Failures(inARow: instance.failures.inARow + 1, since: attempt.failedAt)
    instances[attempt.instance]?.failures = failures
    guard failures.inARow >= limits.erredRequests else { return [] }
    return becameUnhealthy(attempt.instance, .erring(requests: failures.inARow), at: now)
  }

  /// A graver reason takes the place of a known one.
  mutating func becameUnhealthy(_ id: InstanceID, _ reason: UnhealthyReason, at now: Instant) -> [DispatchAction] {
    guard let instance = instances[id] else { return [] }
    if case .unhealthy(let known, _) = instance.health, known.consequence >= reason.consequence { return [] }
    revision += 1
    instances[id]?.health = .unhealthy(reason, since: now)
    instances[id]?.isColdStart = false
    instances[id]?.probe.due = min(instance.probe.due, now + limits.probeInterval)
    let (actions, cut, back) = evict(id, finishing: reason.consequence == .finish, at: now)
    return actions + [.report(.instanceUnhealthy(id, reason, interrupted: cut, putBack: back))]
  }
}
