import GRDB
package import NIOCore
import PoolCore

/// All that a dispatcher has to have in memory.
package struct StoredState: Equatable, Sendable {
  /// In the order in which they were made, the revoked ones too.
  package var keys: [StoredKey]
  /// By the time of their last use, oldest first.
  package var sessions: [StoredSession]
  /// In the order in which they are to be served: those that ran, then all others, each by their places.
  package var requests: [StoredRequest]
  /// By minute.
  package var usage: [StoredUsage]
}

extension QueueStore {
  /// Reads all that is needed after a start, as of one moment.
  /// - Parameter minute: the first whose usage still counts.
  package func load(usageSince minute: Int64) -> EventLoopFuture<StoredState> {
    call("reading the store") { database in
      StoredState(
        keys: try StoredKey.all(database), sessions: try StoredSession.all(database),
        requests: try StoredRequest.all(database), usage: try StoredUsage.all(database, since: minute))
    }
  }
}

extension StoredKey {
  static func all(_ database: Database) throws -> [StoredKey] {
    try database.rows(
      """
      SELECT id, name, hash, role, class, requests_per_hour, tokens_per_hour, concurrent, waiting, created_at,
        revoked_at FROM api_key ORDER BY created_at, id
      """
    ) { row in
      StoredKey(
        id: try row.text(), name: try row.text(), hash: try row.bytes(), role: try row.word(),
        className: try row.optionalText(),
        limits: UserLimits(
          requestsPerHour: try row.optionalInt(), tokensPerHour: try row.optionalInt(),
          concurrent: try row.optionalInt(), waiting: try row.optionalInt()),
        createdAt: try row.time(), revokedAt: try row.optionalTime())
    }
  }
}

extension StoredSession {
  fileprivate static func all(_ database: Database) throws -> [StoredSession] {
    try database.rows("SELECT id, owner, created_at, last_used_at FROM session ORDER BY last_used_at, id") { row in
      StoredSession(
        id: try row.text(), owner: try row.text(), createdAt: try row.time(), lastUsedAt: try row.time())
    }
  }
}

extension StoredRequest {
  fileprivate static func all(_ database: Database) throws -> [StoredRequest] {
    try database.rows(
      """
      SELECT id, place, session, user, class, key, priority, model, message, language, is_resumable,
        idempotency_key, state, attempts, arrived_at FROM request ORDER BY state <> 'running', place
      """
    ) { row in
      StoredRequest(
        id: try row.text(), place: try row.integer(), session: try row.text(), user: try row.text(),
        className: try row.text(), keyID: try row.optionalText(), priority: try row.optionalText(),
        model: try row.optionalText(), message: try row.text(), language: try row.optionalText(),
        isResumable: try row.bool(), idempotencyKey: try row.optionalText(), state: try row.word(),
        attempts: try row.int(), arrivedAt: try row.time())
    }
  }
}

extension StoredUsage {
  fileprivate static func all(_ database: Database, since minute: Int64) throws -> [StoredUsage] {
    try database.rows(
      "SELECT user, minute, requests, tokens FROM usage WHERE minute >= ? ORDER BY minute, user", minute
    ) { row in
      StoredUsage(user: try row.text(), minute: try row.integer(), requests: try row.int(), tokens: try row.int())
    }
  }
}
