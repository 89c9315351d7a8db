import GRDB

/// Something that is to be done in a transaction, and that is told when the transaction is committed.
struct StoreCall: Sendable {
  /// Tells who asked; called on the event loop.
  typealias Answer = @Sendable () -> Void

  /// May be called again where a transaction failed: all that it changes is in the database.
  let perform: @Sendable (Database) throws -> Answer
  let failed: @Sendable (any Error) -> Answer
}

/// The calls that wait for the transaction under way to end, in their order. They go into the next one together.
struct PendingCalls {
  /// Whether the worker takes calls, and will look for further ones.
  private(set) var isAtWork = false
  private(set) var isClosed = false
  private var calls: [StoreCall] = []
  /// What was used since the last call, and when: told with the next, and in its place among them.
  private var touches: [String: WallTime] = [:]

  var count: Int { calls.count }

  /// - Returns: whether the worker has to be called.
  mutating func add(_ call: StoreCall) -> Bool {
    sealTouches()
    calls.append(call)
    defer { isAtWork = true }
    return !isAtWork
  }

  /// - Returns: whether it is the first that waits, so that it may have to be written without a call that comes along.
  mutating func touch(_ session: String, at time: WallTime) -> Bool {
    guard !isClosed else { return false }
    defer { touches[session] = max(time, touches[session] ?? time) }
    return touches.isEmpty
  }

  /// - Returns: whether the worker has to be called for touches that waited long enough.
  mutating func flush() -> Bool {
    sealTouches()
    guard !calls.isEmpty else { return false }
    defer { isAtWork = true }
    return !isAtWork
  }

  /// The next transaction; empty where there is nothing to do, and the worker has to be called again.
  mutating func take() -> [StoreCall] {
    sealTouches()
    defer { calls = [] }
    isAtWork = !calls.isEmpty
    return calls
  }

  mutating func close() { isClosed = true }

  private mutating func sealTouches() {
    guard !touches.isEmpty else { return }
    let touched = touches
    touches = [:]
    calls.append(
      StoreCall(
        perform: { database in
          for (session, time) in touched {
            try database.change("UPDATE session SET last_used_at = max(last_used_at, ?) WHERE id = ?", time, session)
          }
          return {}
        }, failed: { _ in {} }))
  }
}
