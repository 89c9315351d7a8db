import Dispatch

/// The calls that have not ended yet, and what is to be done about them. Pure: it decides, the bus acts.
///
/// A call is *queued* while too many are in flight, then *sent*, and if it begins a job it waits for that job's end
/// after the reply. Every call ends exactly once.
struct CallLedger {
  enum Action: Equatable {
    case send(id: UInt64, BusRequest)
    case finish(id: UInt64, Result<[BusValue], SystemdError>)
  }

  private enum Stage: Equatable {
    case queued
    case sent
    case waitingForJob(path: String)
  }

  private struct Call {
    let request: BusRequest
    let beginsJob: Bool
    let deadline: DispatchTime
    var stage = Stage.queued
  }

  private let limit: Int
  private var calls: [UInt64: Call] = [:]
  private var queue: [UInt64] = []
  private var callsByJob: [String: UInt64] = [:]
  private var inFlight = 0
  private var lastID: UInt64 = 0

  /// - Parameter limit: calls in flight at once. dbus-daemon limits the replies that a connection may have pending,
  ///   and answers what is beyond with an error.
  init(limit: Int = 64) { self.limit = limit }

  var isEmpty: Bool { calls.isEmpty }
  var earliestDeadline: DispatchTime? { calls.values.map(\.deadline).min() }

  mutating func add(
    _ request: BusRequest, beginsJob: Bool, deadline: DispatchTime
  ) -> (id: UInt64, actions: [Action]) {
    lastID += 1
    calls[lastID] = Call(request: request, beginsJob: beginsJob, deadline: deadline)
    queue.append(lastID)
    return (lastID, sendNext())
  }

  /// The answer to a sent call, or the reason why it could not be sent.
  mutating func replied(to id: UInt64, _ result: Result<[BusValue], SystemdError>) -> [Action] {
    guard let call = calls[id], call.stage == .sent else { return [] }
    if call.beginsJob, case .success(let values) = result {
      guard let path = values.first?.text else {
        let error = SystemdError(.unexpectedReply, "no job in the answer", operation: call.request.operation)
        return end(id, .failure(error))
      }
      // Entered here, before the next event is looked at, the job's end can't slip by.
      inFlight -= 1
      calls[id]?.stage = .waitingForJob(path: path)
      callsByJob[path] = id
      return sendNext()
    }
    return end(id, result)
  }

  /// A job has ended. Its result is the call's: "done", "failed", "canceled"…
  mutating func jobEnded(path: String, result: String) -> [Action] {
    guard let id = callsByJob[path] else { return [] }
    return end(id, .success([.string(result)]))
  }

  /// Ends the calls whose deadline has passed.
  mutating func expire(at now: DispatchTime) -> [Action] {
    ids { $0.deadline <= now }.flatMap { id in
      let what = calls[id]?.stage == .sent ? "no answer" : "no end of the job"
      return fail(id, .timedOut, "\(what) within the deadline")
    }
  }

  /// Ends one call, if it has not ended.
  mutating func fail(_ id: UInt64, _ code: SystemdError.Code, _ message: String) -> [Action] {
    guard let call = calls[id] else { return [] }
    return end(id, .failure(SystemdError(code, message, operation: call.request.operation)))
  }

  /// Ends all calls: the bus or systemd is gone.
  mutating func failAll(_ code: SystemdError.Code, _ message: String) -> [Action] {
    // Nothing is sent any more: what was queued ends like the rest.
    queue = []
    return ids { _ in true }.flatMap { fail($0, code, message) }
  }

  private func ids(where condition: (Call) -> Bool) -> [UInt64] {
    calls.filter { condition($0.value) }.map(\.key).sorted()
  }

  private mutating func end(_ id: UInt64, _ result: Result<[BusValue], SystemdError>) -> [Action] {
    guard let call = calls.removeValue(forKey: id) else { return [] }
    switch call.stage {
    case .queued: queue.removeAll { $0 == id }
    case .sent: inFlight -= 1
    case .waitingForJob(let path): callsByJob[path] = nil
    }
    return [.finish(id: id, result)] + sendNext()
  }

  private mutating func sendNext() -> [Action] {
    var actions: [Action] = []
    while inFlight < limit, !queue.isEmpty {
      let id = queue.removeFirst()
      guard let request = calls[id]?.request else { continue }
      calls[id]?.stage = .sent
      inFlight += 1
      actions.append(.send(id: id, request))
    }
    return actions
  }
}
