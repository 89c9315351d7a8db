import Dispatch
import GRDB
import Glibc
package import NIOCore

/// A request of the past, without anything of what was said.
package struct PastRequest: Equatable, Sendable {
  package enum Outcome: String, StoredWord, Sendable, CaseIterable {
    case served, cancelled, expired, failed, refused
  }

  package var arrivedAt: WallTime
  package var className: String
  /// Of the class, when it came.
  package var priority: Int
  package var model: String?
  /// The same for all requests of a user, and nothing that tells who that is.
  package var user: Int64
  package var inputTokens: Int
  package var outputTokens: Int
  /// Until it got a slot, in milliseconds; nil where it never did.
  package var wait: Int?
  /// From there to its end, in milliseconds.
  package var service: Int?
  package var outcome: Outcome

  package init(
    arrivedAt: WallTime, className: String, priority: Int, model: String?, user: Int64, inputTokens: Int,
    outputTokens: Int, wait: Int?, service: Int?, outcome: Outcome
  ) {
    self.arrivedAt = arrivedAt
    self.className = className
    self.priority = priority
    self.model = model
    self.user = user
    self.inputTokens = inputTokens
    self.outputTokens = outputTokens
    self.wait = wait
    self.service = service
    self.outcome = outcome
  }
}

/// The requests of the last weeks, for replays.
///
/// In a database of its own: others may read it while it is written, and where it is lost nobody lacks an answer. It
/// may be called from anywhere and never blocks: a thread of its own works on the database. What is added is written
/// at once, as one transaction, and outlives this process.
package final class RequestHistory: Sendable {
  /// What is kept.
  package struct Limits: Equatable, Sendable {
    package var age: Duration
    /// The latest so many.
    package var requests: Int

    package init(age: Duration = .seconds(720 * 3_600), requests: Int = 1_000_000) {
      self.age = age
      self.requests = requests
    }
  }

  /// In the file's header: "OPRH".
  private static let applicationID = 0x4f50_5248

  private let database: DatabaseQueue
  private let worker: DispatchQueue
  private let eventLoop: any EventLoop
  /// For messages.
  private let path: String

  private init(_ database: DatabaseQueue, _ path: String, worker: DispatchQueue, on eventLoop: any EventLoop) {
    self.database = database
    self.path = path
    self.worker = worker
    self.eventLoop = eventLoop
  }

  /// Opens the database, and makes it where there is none, for its user alone.
  package static func open(_ path: String, on eventLoop: any EventLoop) -> EventLoopFuture<RequestHistory> {
    let worker = DispatchQueue(label: "ollama-pool.history")
    return future(worker, on: eventLoop, "opening the history", path) {
      // SQLite gives its log and its index the same mode.
      let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
      guard descriptor >= 0 else {
        let cause = String(cString: strerror(errno))
        throw QueueStoreError(
          .unusable, "\(path) can't be opened for writing: its folder must belong to the user that runs this",
          cause: cause)
      }
      Glibc.close(descriptor)
      var configuration = Configuration()
      configuration.label = "ollama-pool.history"
      // Somebody reads it, which takes a moment.
      configuration.busyMode = .timeout(5)
      let database = try DatabaseQueue(path: path, configuration: configuration)
      try database.writeWithoutTransaction { database in
        try check(database, path, mayBeEmpty: true)
        try database.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        try database.execute(sql: "PRAGMA journal_size_limit = 16777216; PRAGMA cache_size = -512")
      }
      try migrator.migrate(database)
      return RequestHistory(database, path, worker: worker, on: eventLoop)
    }
  }

  /// In the order in which they ended.
  package func add(_ requests: [PastRequest]) -> EventLoopFuture<Void> {
    call("recording requests") { database in
      try database.write { database in
        for request in requests {
          try database.change(
            """
            INSERT INTO request (arrived_at, class, priority, model, user, input_tokens, output_tokens, wait, service,
              outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            request.arrivedAt, request.className, request.priority, request.model, request.user, request.inputTokens,
            request.outputTokens, request.wait, request.service, request.outcome)
        }
      }
    }
  }

  /// Deletes what is beyond the limits.
  package func prune(_ limits: Limits, at now: WallTime) -> EventLoopFuture<Void> {
    call("pruning the history") { database in
      try database.write { database in
        try database.change("DELETE FROM request WHERE arrived_at < ?", now - limits.age)
        try database.change(
          "DELETE FROM request WHERE number <= (SELECT max(number) FROM request) - ?", limits.requests)
      }
    }
  }

  /// Carries out what was asked for before, then closes the database.
  package func close() -> EventLoopFuture<Void> { call("closing the history") { try $0.close() } }

  private func call(
    _ operation: StaticString, _ body: @escaping @Sendable (DatabaseQueue) throws -> Void
  ) -> EventLoopFuture<Void> {
    Self.future(worker, on: eventLoop, operation, path) { [database] in try body(database) }
  }

  private static func future<Value: Sendable>(
    _ worker: DispatchQueue, on eventLoop: any EventLoop, _ operation: StaticString, _ path: String,
    _ body: @escaping @Sendable () throws -> Value
  ) -> EventLoopFuture<Value> {
    let promise = eventLoop.makePromise(of: Value.self)
    worker.async {
      promise.completeWith(Result { try body() }.mapError { QueueStoreError($0, operation, file: path) })
    }
    return promise.futureResult
  }

  private static func check(_ database: Database, _ path: String, mayBeEmpty: Bool) throws {
    let isEmpty = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") == 0
    let application = try Int.fetchOne(database, sql: "PRAGMA application_id")
    guard isEmpty && mayBeEmpty || application == applicationID else {
      throw QueueStoreError(.foreign, "\(path) is no history of an ollama-pool, but another database")
    }
  }

  private static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1") { database in
      try database.execute(
        sql: """
          PRAGMA application_id = 0x4f505248;

          CREATE TABLE request (
            number INTEGER PRIMARY KEY NOT NULL,
            arrived_at INTEGER NOT NULL,
            class BLOB NOT NULL,
            priority INTEGER NOT NULL,
            model BLOB,
            user INTEGER NOT NULL,
            input_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL,
            wait INTEGER,
            service INTEGER,
            outcome TEXT NOT NULL
          ) STRICT;
          CREATE INDEX request_arrived_at ON request (arrived_at);
          """)
    }
    return migrator
  }
}

extension RequestHistory {
  /// What a history's file holds, in the order of arrival. Nothing is changed, and a pool may write it meanwhile.
  ///
  /// - Parameters:
  ///   - span: of the first arrival and all since then, which are taken: from, and for how long.
  ///   - most: if there are more, it fails.
  package static func read(
    _ path: String, from: Duration = .zero, length: Duration? = nil, most: Int
  ) throws(QueueStoreError) -> [PastRequest] {
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(5)
      let database = try DatabaseQueue(path: path, configuration: configuration)
      return try database.read { database in
        try check(database, path, mayBeEmpty: false)
        guard let first = try Int64.fetchOne(database, sql: "SELECT min(arrived_at) FROM request") else { return [] }
        let start = WallTime(milliseconds: first) - (.zero - from)
        let end = length.map { start - (.zero - $0) } ?? WallTime(milliseconds: .max)
        let requests = try database.rows(
          """
          SELECT arrived_at, class, priority, model, user, input_tokens, output_tokens, wait, service, outcome
          FROM request WHERE arrived_at >= ? AND arrived_at < ? ORDER BY arrived_at, number LIMIT ?
          """,
          start, end, most + 1
        ) { row in
          let (arrivedAt, className, priority) = (try row.time(), try row.text(), try row.int())
          let (model, user) = (try row.optionalText(), try row.integer())
          let (input, output) = (try row.int(), try row.int())
          let (wait, service) = (try row.optionalInt(), try row.optionalInt())
          return PastRequest(
            arrivedAt: arrivedAt, className: className, priority: priority, model: model, user: user,
            inputTokens: input, outputTokens: output, wait: wait, service: service, outcome: try row.word())
        }
        guard requests.count <= most else {
          throw QueueStoreError(.overloaded, "\(path) has more than \(most) requests there: take a shorter part of it")
        }
        return requests
      }
    } catch {
      throw QueueStoreError(error, "reading the history", file: path)
    }
  }
}
