import OrderedCollections
import PoolCore

/// What is always true of single requests, and of the verdicts on instances.
extension Invariants {
  /// An instance is condemned for what it did, and for no less.
  mutating func condemned(
    _ id: InstanceID, _ reason: UnhealthyReason, _ limits: DispatchLimits, units: [InstanceID: PoolSimulation.Unit],
    results: [RequestID: PoolSimulation.RequestResult]
  ) {
    guard let unit = units[id] else { return }
    switch reason {
    case .stalled, .silent:
      if unit.stalledAt == nil { note("\(id) was condemned although its streams move") }
    case .erring(let requests):
      let proven = unit.failures.count { failure in
        switch results[failure.request] {
        case .ended(.served, _), .ended(.failed(.noAnswer), _): true
        default: false
        }
      }
      if requests < limits.erredRequests || proven < limits.erredRequests {
        note("\(id) was condemned for \(requests) requests, but failed \(proven) since its last answer")
      }
    case .unreachable, .refusing, .loadFailed: break
    }
  }

  /// The dispatcher ended a stream of an instance that is well.
  mutating func cut(_ id: RequestID, on instance: InstanceID) {
    note("request \(id) was cut although \(instance) is well")
  }

  /// "A fault takes away only what it has spoilt."
  mutating func killed(_ id: InstanceID, attempts: [RequestID: PoolSimulation.Attempt]) {
    if let cut = attempts.first(where: { $0.value.instance == id && $0.value.hasBegun }) {
      note("\(id) was killed, which cut request \(cut.key)")
    }
  }

  /// "One model's load never holds up requests for another."
  ///
  /// - Parameters:
  ///   - shown: models that the dispatcher may take to be in memory.
  ///   - loading: models of requests that have no answer, and those being loaded first.
  mutating func joined(
    _ id: RequestID, _ model: String?, on instance: InstanceID, shown: Set<String>, loading: [String]
  ) {
    if let other = loading.first(where: { $0 != model && !shown.contains($0) }) {
      note("request \(id) went to \(instance), which loads \(other)")
    }
  }

  /// "Two servers never change one store."
  mutating func writes(
    _ id: RequestID, on instance: InstanceID, requests: [RequestID: SimulatedRequest],
    attempts: [RequestID: PoolSimulation.Attempt]
  ) {
    for (other, attempt) in attempts
    where attempt.instance != instance && requests[other]?.need == .storeReference {
      note("request \(id) changes the store on \(instance) while request \(other) does on \(attempt.instance)")
    }
  }

  /// 504: too late, and, where another try costs little, tried again.
  mutating func unanswered(
    _ id: RequestID, _ request: SimulatedRequest, _ attempt: PoolSimulation.Attempt, _ limits: DispatchLimits,
    at now: Instant
  ) {
    let time = now - attempt.since
    if time < limits.firstByteLimit || request.need == .storeReference {
      note("request \(id) ended after \(time) without an answer")
    }
    if request.need == .slot, request.streams, attempt.isFirst { note("request \(id) was not tried once more") }
  }

  /// Nobody waits longer than is allowed; each second that is looked after.
  mutating func check(
    _ dispatch: Dispatch, waitingSince: [RequestID: Instant], _ limits: DispatchLimits, at now: Instant
  ) {
    guard let limit = limits.maximumWait else { return }
    for (id, record) in dispatch.requests {
      guard case .waiting = record.phase, let since = waitingSince[id] else { continue }
      if now - since > limit + .milliseconds(1100) { note("request \(id) has waited for \(now - since)") }
    }
  }

  mutating func expired(_ id: RequestID, after wait: Duration, _ limits: DispatchLimits) {
    if let limit = limits.maximumWait, wait >= limit { return }
    note("request \(id) expired after a wait of \(wait)")
  }

  /// What needs no slot waits only for an instance; where it changes the model store or leaves the machine, for the one
  /// that is to write, and in the first case for one that drains and still writes.
  mutating func check(
    _ id: RequestID, _ record: Dispatch.Record, _ dispatch: Dispatch, _ inRotation: [DispatchedInstance]
  ) {
    guard case .waiting = record.phase, !inRotation.isEmpty else { return }
    let isChosen = dispatch.instances.values.contains { $0.wanted.writesStore != nil }
    let mayWrite = inRotation.filter { !isChosen || $0.wanted.writesStore == true }.map(\.wanted.id)
    let awaitsWriter =
      record.request.need == .storeReference
      && (mayWrite.isEmpty
        || dispatch.instances.values.contains { instance in
          !mayWrite.contains(instance.wanted.id)
            && instance.references.contains { dispatch.requests[$0]?.request.need == .storeReference }
        })
    let awaitsNetwork = record.request.need.leavesMachine && dispatch.storeRefusal == nil && mayWrite.isEmpty
    if !awaitsWriter, !awaitsNetwork { note("request \(id) waits beside \(inRotation.map(\.wanted.id))") }
  }
}
