import Chat
import Gateway
import NIOCore
import OllamaAPI
import OrderedCollections
import PoolCore

/// What the queue looks like from outside: `/queue`.
extension DispatcherShell {
  /// Requests that one answer shows.
  private static let mostShown = 1000

  private static let jsonHeaders: [(name: String, value: String)] = [
    ("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store"),
  ]

  /// All users together, and of the requests those that are the caller's own; an administrator sees all.
  func answerQueue(_ exchange: Exchange) {
    guard let caller = exchange.caller else { return exchange.refuse(.nothingThere) }
    let now = Instant.now
    var json = JSONWriter()
    json.text(
      "{\"waiting\":\(core.queue.count),\"running\":\(core.inFlight),\"max_concurrent\":\(core.maxConcurrent)")
    json.raw(",\"next\":")
    json.object(of: QueuePlace(estimateForNext(of: caller.share)))
    json.raw(",\"requests\":[")
    let shown = first(of: caller.isAdministrator ? core.index.all : core.index.of(caller.user))
    let estimates = estimates(for: shown.map(\.request.id))
    for (number, record) in shown.enumerated() {
      if number > 0 { json.raw(",") }
      write(record, estimates[record.request.id], caller, at: now, &json)
    }
    json.raw("]}")
    exchange.respond(status: 200, headers: Self.jsonHeaders, body: json.bytes)
  }

  /// However many there are.
  private func first(of ids: RankedSet<RequestID>) -> [Dispatch.Record] {
    var records: [Dispatch.Record] = []
    for rank in 0..<ids.count where records.count < Self.mostShown {
      guard let record = ids[rank].flatMap({ core.requests[$0] }), record.request.need == .slot else { continue }
      records.append(record)
    }
    return records
  }

  /// One request, by the name that its client got in `X-Request-Id`.
  func answerPlace(_ exchange: Exchange) {
    guard let caller = exchange.caller, let name = exchange.pathVariable,
      let id = UInt64(name).map({ RequestID($0) }) ?? chat?.request(named: name, seenBy: exchange),
      let record = core.requests[id], record.request.need == .slot,
      UInt64(name) == nil || may(caller, see: record)
    else { return exchange.refuse(.nothingThere) }
    var json = JSONWriter()
    write(record, estimate(for: id), caller, at: .now, &json)
    exchange.respond(status: 200, headers: Self.jsonHeaders, body: json.bytes)
  }

  private func may(_ caller: Caller, see record: Dispatch.Record) -> Bool {
    caller.isAdministrator || record.request.share.user == caller.user
  }

  private func write(
    _ record: Dispatch.Record, _ estimate: WaitingEstimate?, _ caller: Caller, at now: Instant, _ json: inout JSONWriter
  ) {
    let id = record.request.id
    json.raw("{\"request_id\":")
    json.string(chat?.name(of: id) ?? String(id.number))
    json.raw(",\"state\":")
    json.string(record.phase.word)
    if let estimate {
      json.raw(",")
      json.members(of: QueuePlace(estimate))
    }
    json.raw(",\"model\":")
    json.string(record.request.model)
    json.raw(",\"age_seconds\":")
    json.text(String(max(0, Int((now - record.arrivedAt).seconds))))
    if caller.isAdministrator {
      json.raw(",\"user\":")
      json.string(record.request.share.user.name)
    }
    json.raw("}")
  }
}

extension RequestPhase {
  fileprivate var word: String {
    switch self {
    case .waiting: "waiting"
    case .assigned(_, _, _, nil): "starting"
    case .assigned: "answering"
    case .suspended: "suspended"
    }
  }
}

extension PoolError {
  /// Also for what is somebody else's: that it exists is nobody's business.
  fileprivate static let nothingThere = PoolError(
    status: 404, code: "not_found", message: "No such request waits here or is being served.")
}
