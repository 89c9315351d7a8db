import Dispatch
import GRDB
package import NIOCore
import Synchronization

/// What outlives the dispatcher, in one SQLite database: API keys, sessions and their history, requests that wait or
/// run, and what users have had.
///
/// It may be called from anywhere and never blocks: a thread of its own works on the database, and futures are
/// completed on the event loop, in the order of the calls. Calls are carried out in their order, too: what was asked
/// for while a transaction was under way goes into the next one together. A future succeeds when its change outlives
/// the death of this process; see ``StoreFile`` for that of the machine. It fails with a ``QueueStoreError``, and then
/// its change was not made, while those beside it were.
///
/// It must be closed before its event loop ends.
package final class QueueStore: Sendable {
  /// How long it may take until the use of a session is written down, unless something else is written before.
  private static let touchDelay = TimeAmount.seconds(10)

  let limits: QueueStoreLimits
  private let eventLoop: any EventLoop
  private let worker: DispatchQueue
  private let database: DatabaseQueue
  /// For messages.
  private let name: String
  private let pending = Mutex(PendingCalls())

  private init(
    _ database: DatabaseQueue, name: String, limits: QueueStoreLimits, worker: DispatchQueue,
    on eventLoop: any EventLoop
  ) {
    self.database = database
    self.name = name
    self.limits = limits
    self.worker = worker
    self.eventLoop = eventLoop
  }

  /// Opens the database, makes it where there is none (for its user alone), and brings an older one up to date.
  /// - Parameter path: of the file, whose folder must exist; nil for a store in memory.
  package static func open(
    _ path: String?, limits: QueueStoreLimits = QueueStoreLimits(), on eventLoop: any EventLoop
  ) -> EventLoopFuture<QueueStore> {
    let promise = eventLoop.makePromise(of: QueueStore.self)
    let worker = DispatchQueue(label: "ollama-pool.queue-store")
    worker.async {
      promise.completeWith(
        Result {
          let database = try path.map { path in try StoreFile.open(path) } ?? StoreFile.inMemory()
          return QueueStore(
            database, name: path ?? "the store in memory", limits: limits, worker: worker, on: eventLoop)
        })
    }
    return promise.futureResult
  }

  /// Carries out what was asked for before, then closes the database. Whatever is asked for later fails.
  package func close() -> EventLoopFuture<Void> {
    pending.withLock { $0.close() }
    let promise = eventLoop.makePromise(of: Void.self)
    worker.async { [self] in
      work()
      promise.completeWith(
        Result { try database.close() }.mapError { QueueStoreError($0, "closing the store", file: name) })
    }
    return promise.futureResult
  }

  /// Calls `body` in a transaction, maybe more than once, and completes the future when that is committed.
  func call<Value: Sendable>(
    _ operation: StaticString, _ body: @escaping @Sendable (Database) throws -> Value
  ) -> EventLoopFuture<Value> {
    let promise = eventLoop.makePromise(of: Value.self)
    let call = StoreCall(
      perform: { database in
        let value = try body(database)
        return { promise.succeed(value) }
      },
      failed: { [name] error in { promise.fail(QueueStoreError(error, operation, file: name)) } })
    let outcome = pending.withLock { pending -> Result<Bool, QueueStoreError> in
      if pending.isClosed { return .failure(QueueStoreError(.closed, "\(operation): the store is closed")) }
      guard pending.count < limits.pending else {
        return .failure(
          QueueStoreError(
            .overloaded,
            "\(operation): \(pending.count) calls wait for \(name) already: see whether its disk hangs"))
      }
      return .success(pending.add(call))
    }
    switch outcome {
    case .success(true): worker.async { [self] in work() }
    case .success(false): break
    case .failure(let error): promise.fail(error)
    }
    return promise.futureResult
  }

  /// Writes down later that a session is in use.
  func touchLater(_ session: String, at time: WallTime) {
    guard pending.withLock({ $0.touch(session, at: time) }) else { return }
    eventLoop.scheduleTask(in: Self.touchDelay) { [weak self] in
      guard let self, pending.withLock({ $0.flush() }) else { return }
      worker.async { [self] in work() }
    }
  }

  // MARK: On the worker's thread

  private func work() {
    while true {
      let group = pending.withLock { $0.take() }
      guard !group.isEmpty else { return }
      let answers = commit(group)
      eventLoop.execute { for answer in answers { answer() } }
    }
  }

  /// - Returns: an answer to each call, in their order.
  private func commit(_ group: [StoreCall]) -> [StoreCall.Answer] {
    // A savepoint for each takes as long as the calls themselves, and it is rare that one fails.
    if let answers = try? transaction(group, perform: { try $0.perform($1) }) { return answers }
    do {
      return try transaction(group, perform: performAlone)
    } catch  where group.count > 1 {
      // A transaction that fails as a whole, for want of room maybe, fails those that fail alone as well.
      return group.flatMap { commit([$0]) }
    } catch {
      return group.map { $0.failed(error) }
    }
  }

  private func transaction(
    _ group: [StoreCall], perform: (StoreCall, Database) throws -> StoreCall.Answer
  ) throws -> [StoreCall.Answer] {
    try database.writeWithoutTransaction { database in
      var answers: [StoreCall.Answer] = []
      answers.reserveCapacity(group.count)
      try database.inTransaction(.immediate) {
        for call in group { answers.append(try perform(call, database)) }
        return .commit
      }
      return answers
    }
  }

  /// A call that fails leaves nothing of its own, and what the others of its transaction did.
  private func performAlone(_ call: StoreCall, _ database: Database) throws -> StoreCall.Answer {
    do {
      var answer: StoreCall.Answer?
      try database.inSavepoint {
        answer = try call.perform(database)
        return .commit
      }
      return answer ?? {}
    } catch {
      // Some errors make SQLite give up the whole transaction.
      guard database.isInsideTransaction else { throw error }
      return call.failed(error)
    }
  }
}
