package import NIOCore

/// A question that was accepted, and must not be lost.
package struct StoredRequest: Equatable, Sendable {
  package enum State: String, StoredWord, Sendable {
    case waiting, running
    /// Its client is away.
    case suspended
  }

  package var id: String
  /// Its place in the order of arrival, which the caller gives: of one request only, and larger than those of all
  /// earlier ones that are still here.
  package var place: Int64
  package var session: String
  package var user: String
  package var className: String
  /// Of the API key that it came with.
  package var keyID: String?
  /// In which it waits.
  package var priority: String?
  /// nil: the only one that is installed, which nobody knew yet.
  package var model: String?
  package var message: String
  /// In which the client is told of its place.
  package var language: String?
  /// Whether it is answered anew after a restart.
  package var isResumable: Bool
  /// The client's own name for it.
  package var idempotencyKey: String?
  package var state: State
  /// How many dispatchers have taken it up after the one that it was put to.
  package var attempts: Int
  package var arrivedAt: WallTime

  package init(
    id: String, place: Int64, session: String, user: String, className: String, keyID: String? = nil,
    priority: String? = nil, model: String?, message: String, language: String? = nil, isResumable: Bool,
    idempotencyKey: String? = nil, state: State = .waiting, attempts: Int = 0, arrivedAt: WallTime
  ) {
    self.id = id
    self.place = place
    self.session = session
    self.user = user
    self.className = className
    self.keyID = keyID
    self.priority = priority
    self.model = model
    self.message = message
    self.language = language
    self.isResumable = isResumable
    self.idempotencyKey = idempotencyKey
    self.state = state
    self.attempts = attempts
    self.arrivedAt = arrivedAt
  }
}

extension QueueStore {
  /// Adds a request, and what it asks at the end of its session's history, if the session is there: both or neither.
  /// Fails with `conflict` where there is a request of that id or place.
  ///
  /// - Parameter session: begins with it, and then fails with `conflict` where there is one of that id.
  /// - Returns: the sessions that had to go for that one, as for ``add(_:)-(StoredSession)``.
  package func accept(
    _ request: StoredRequest, beginning session: StoredSession? = nil
  ) -> EventLoopFuture<[String]> {
    call("storing a request") { [limits] database in
      let gone = try session.map { try database.add($0, limits) } ?? []
      try database.change(
        """
        INSERT INTO request (place, id, session, user, class, key, priority, model, language, is_resumable,
          idempotency_key, state, attempts, arrived_at, message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        request.place, request.id, request.session, request.user, request.className, request.keyID, request.priority,
        request.model, request.language, request.isResumable, request.idempotencyKey, request.state,
        request.attempts, request.arrivedAt, request.message)
      if try database.hasSession(request.session) { try database.append(request.asked, limits) }
      return gone
    }
  }

  /// What a request asks. Fails with `missing` where it isn't there.
  package func message(ofRequest id: String) -> EventLoopFuture<String> {
    call("reading a request") { database in
      let messages = try database.rows("SELECT message FROM request WHERE id = ?", id) { try $0.text() }
      guard let message = messages.first else { throw QueueStoreError(.missing, "there is no stored request \(id)") }
      return message
    }
  }

  /// Fails with `missing` where the request isn't there.
  package func setRequest(
    _ id: String, state: StoredRequest.State, attempts: Int
  ) -> EventLoopFuture<Void> {
    call("changing a request") { database in
      let count = try database.change(
        "UPDATE request SET state = ?, attempts = ? WHERE id = ?", state, attempts, id)
      guard count > 0 else { throw QueueStoreError(.missing, "there is no stored request \(id)") }
    }
  }

  /// Of a request that isn't there any more it changes nothing.
  package func setPriority(_ priority: String, ofRequest id: String) -> EventLoopFuture<Void> {
    call("changing a request's priority") { database in
      try database.change("UPDATE request SET priority = ? WHERE id = ?", priority, id)
    }
  }

  /// Deletes a request, if it is there: it has come to its end.
  package func deleteRequest(_ id: String) -> EventLoopFuture<Void> {
    call("deleting a request") { database in try database.change("DELETE FROM request WHERE id = ?", id) }
  }

  /// Deletes a request, and what its session's history has of it: it was refused before anybody was told of it.
  package func withdrawRequest(_ id: String, of session: String) -> EventLoopFuture<Void> {
    call("withdrawing a request") { database in
      try database.change("DELETE FROM request WHERE id = ?", id)
      try database.change("DELETE FROM message WHERE session = ? AND request = ?", session, id)
    }
  }
}

extension StoredRequest {
  fileprivate var asked: StoredMessage {
    StoredMessage(
      session: session, role: .user, content: message, model: model, requestID: id, idempotencyKey: idempotencyKey,
      at: arrivedAt)
  }
}
