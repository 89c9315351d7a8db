/// What keeps the database and the memory of a ``QueueStore`` bounded.
package struct QueueStoreLimits: Equatable, Sendable {
  /// Sessions, at least 1. Beyond, those go that were not used for longest.
  package var sessions: Int
  /// Messages of one session, at least 1. Beyond, the oldest go.
  package var messagesPerSession: Int
  /// Bytes of one session's messages, with their sources. Beyond, the oldest go.
  package var bytesPerSession: Int
  /// Calls that wait to be carried out, at least 1: more come together only while the disk hangs.
  package var pending: Int

  package init(
    sessions: Int = 100_000, messagesPerSession: Int = 200, bytesPerSession: Int = 1 << 20, pending: Int = 65_536
  ) {
    self.sessions = sessions
    self.messagesPerSession = messagesPerSession
    self.bytesPerSession = bytesPerSession
    self.pending = pending
  }
}
