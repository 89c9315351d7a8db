import GRDB
package import NIOCore

/// One message of a session's history.
package struct StoredMessage: Equatable, Sendable {
  package enum Role: String, StoredWord, Sendable {
    case user, assistant
  }

  package var session: String
  package var role: Role
  package var content: String
  /// What answered, or was asked to.
  package var model: String?
  package var requestID: String?
  /// The client's own name for a question.
  package var idempotencyKey: String?
  /// In JSON.
  package var sources: String?
  package var at: WallTime

  package init(
    session: String, role: Role, content: String, model: String? = nil, requestID: String? = nil,
    idempotencyKey: String? = nil, sources: String? = nil, at: WallTime
  ) {
    self.session = session
    self.role = role
    self.content = content
    self.model = model
    self.requestID = requestID
    self.idempotencyKey = idempotencyKey
    self.sources = sources
    self.at = at
  }

  /// What counts against the limits.
  var bytes: Int { content.utf8.count + (sources?.utf8.count ?? 0) }

  /// As it is kept: with what is too long cut off at its end.
  func cut(to limit: Int) -> StoredMessage {
    guard bytes > limit else { return self }
    var message = self
    if let sources, sources.utf8.count > limit / 2 { message.sources = nil }
    let room = limit - (message.sources?.utf8.count ?? 0)
    guard content.utf8.count > room else { return message }
    let text = content.utf8
    var end = text.index(text.startIndex, offsetBy: max(0, room - Self.ellipsis.utf8.count))
    while end > text.startIndex, end.samePosition(in: content.unicodeScalars) == nil { end = text.index(before: end) }
    message.content = content[..<end] + Self.ellipsis
    return message
  }

  private static let ellipsis = "…"
}

extension QueueStore {
  /// Adds a message at the end of its session's history, of which the oldest goes that is beyond the limits. The answer
  /// to a question that is there no longer is not added: it was deleted, and so is what comes of it. Fails with
  /// `missing` where the session isn't there.
  package func append(_ message: StoredMessage) -> EventLoopFuture<Void> {
    call("storing a message") { [limits] database in
      guard try database.hasSession(message.session) else {
        throw QueueStoreError(.missing, "storing a message: its session is gone")
      }
      guard try message.role == .user || database.hasQuestion(of: message) else { return }
      try database.append(message, limits)
    }
  }

  /// The last messages of a session, oldest first: as many as are neither more than `count` nor, together, larger than
  /// `bytes`. None where the session isn't there.
  package func history(of session: String, last count: Int, bytes: Int) -> EventLoopFuture<[StoredMessage]> {
    call("reading a history") { database in
      guard let first = try database.newestMessages(of: session, count: count, bytes: bytes).last else { return [] }
      return try database.rows(
        """
        SELECT role, model, request, idempotency_key, at, sources, content FROM message
        WHERE session = ? AND number >= ? ORDER BY number
        """,
        session, first
      ) { row in
        let (role, model) = (try row.word() as StoredMessage.Role, try row.optionalText())
        let (requestID, idempotencyKey) = (try row.optionalText(), try row.optionalText())
        let (at, sources, content) = (try row.time(), try row.optionalText(), try row.text())
        return StoredMessage(
          session: session, role: role, content: content, model: model, requestID: requestID,
          idempotencyKey: idempotencyKey, sources: sources, at: at)
      }
    }
  }

  /// Deletes all messages of a session, which stays.
  package func deleteHistory(of session: String) -> EventLoopFuture<Void> {
    call("deleting a history") { database in
      try database.change("DELETE FROM message WHERE session = ?", session)
      try database.change("UPDATE session SET has_messages = 0 WHERE id = ?", session)
    }
  }
}

extension Database {
  func hasSession(_ id: String) throws -> Bool {
    try !rows("SELECT 1 FROM session WHERE id = ?", id) { try $0.integer() }.isEmpty
  }

  /// Adds a message at the end of the history of its session, which is there.
  func append(_ message: StoredMessage, _ limits: QueueStoreLimits) throws {
    let message = message.cut(to: min(limits.bytesPerMessage, limits.bytesPerSession))
    try change(
      """
      INSERT INTO message (session, bytes, role, model, request, idempotency_key, at, sources, content)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      message.session, message.bytes, message.role, message.model, message.requestID, message.idempotencyKey,
      message.at, message.sources, message.content)
    try change("UPDATE session SET has_messages = 1 WHERE id = ? AND has_messages = 0", message.session)
    let kept = try newestMessages(
      of: message.session, count: limits.messagesPerSession, bytes: limits.bytesPerSession)
    try change("DELETE FROM message WHERE session = ? AND number < ?", message.session, kept.last ?? .max)
  }

  /// Whether the question to an answer is there.
  fileprivate func hasQuestion(of answer: StoredMessage) throws -> Bool {
    guard let request = answer.requestID else { return true }
    return try rows(
      "SELECT role FROM message WHERE session = ? AND request = ?", answer.session, request
    ) { row in try row.word() as StoredMessage.Role }.contains(.user)
  }

  /// Numbers of the newest messages within both limits, newest first.
  fileprivate func newestMessages(of session: String, count: Int, bytes: Int) throws -> [Int64] {
    var (count, bytes) = (count, bytes)
    return try rows("SELECT number, bytes FROM message WHERE session = ? ORDER BY number DESC", session) { row in
      let number = try row.integer()
      count -= 1
      bytes -= try row.int()
      return count >= 0 && bytes >= 0 ? number : nil
    }
  }
}
