import GRDB
package import NIOCore

/// One conversation of a user.
package struct StoredSession: Equatable, Sendable {
  package var id: String
  /// The user it belongs to.
  package var owner: String
  package var createdAt: WallTime
  package var lastUsedAt: WallTime

  package init(id: String, owner: String, createdAt: WallTime, lastUsedAt: WallTime) {
    self.id = id
    self.owner = owner
    self.createdAt = createdAt
    self.lastUsedAt = lastUsedAt
  }
}

extension QueueStore {
  /// Fails with `conflict` where there is a session of that id.
  /// - Returns: the sessions that had to go for it, with their history: of too many of its owner's, else of too many of
  ///   all, those without any history first, then those not used for longest; none with a request.
  package func add(_ session: StoredSession) -> EventLoopFuture<[String]> {
    call("storing a session") { [limits] database in try database.add(session, limits) }
  }

  /// Notes that a session is in use, within seconds and without an answer: the death of this process may lose it.
  package func touchSession(_ id: String, at time: WallTime) { touchLater(id, at: time) }

  /// Deletes a session, if it is there, and its history.
  package func deleteSession(_ id: String) -> EventLoopFuture<Void> {
    call("deleting a session") { database in try database.delete(sessions: [id]) }
  }

  /// Deletes the sessions that were last used before then, with their history, apart from those with a request.
  /// - Returns: which they were.
  package func deleteSessions(lastUsedBefore time: WallTime) -> EventLoopFuture<[String]> {
    call("deleting expired sessions") { database in
      let gone = try database.rows(
        """
        SELECT id FROM session
        WHERE last_used_at < ? AND NOT EXISTS (SELECT 1 FROM request WHERE session = session.id)
        """,
        time
      ) { try $0.text() }
      try database.delete(sessions: gone)
      return gone
    }
  }
}

extension Database {
  /// - Returns: the sessions that had to go for it.
  func add(_ session: StoredSession, _ limits: QueueStoreLimits) throws -> [String] {
    try change(
      "INSERT INTO session (id, owner, created_at, last_used_at) VALUES (?, ?, ?, ?)",
      session.id, session.owner, session.createdAt, session.lastUsedAt)
    let own = try rows("SELECT count(*) FROM session WHERE owner = ?", session.owner) { try $0.int() }.first
    var gone = try rows(
      """
      SELECT id FROM session
      WHERE owner = ? AND id <> ? AND NOT EXISTS (SELECT 1 FROM request WHERE session = session.id)
      ORDER BY has_messages, last_used_at LIMIT ?
      """,
      session.owner, session.id, max(0, (own ?? 0) - limits.sessionsPerOwner)
    ) { try $0.text() }
    try delete(sessions: gone)
    let all = try rows("SELECT number FROM session_count") { try $0.int() }.first ?? 0
    guard all > limits.sessions else { return gone }
    let others = try rows(
      """
      SELECT id FROM session WHERE id <> ? AND NOT EXISTS (SELECT 1 FROM request WHERE session = session.id)
      ORDER BY has_messages, last_used_at LIMIT ?
      """,
      session.id, all - limits.sessions
    ) { try $0.text() }
    try delete(sessions: others)
    gone += others
    return gone
  }

  fileprivate func delete(sessions: [String]) throws {
    for id in sessions { try change("DELETE FROM session WHERE id = ?", id) }
  }
}
