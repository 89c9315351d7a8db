/// What keeps the database and the memory of a ``QueueStore`` bounded.
package struct QueueStoreLimits: Equatable, Sendable {
  /// Sessions, at least 1. Beyond, those go that were not used for longest, empty ones first.
  package var sessions: Int
  /// Sessions of one owner, at least 1. Beyond, those of that owner go: nobody erases what is others'.
  package var sessionsPerOwner: Int
  /// Messages of one session, at least 1. Beyond, the oldest go.
  package var messagesPerSession: Int
  /// Bytes of one session's messages, with their sources. Beyond, the oldest go.
  package var bytesPerSession: Int
  /// Bytes of one message, with its sources. What is longer is cut: one of them is not to make all others go.
  package var bytesPerMessage: Int
  /// Calls that wait to be carried out, at least 1: more come together only while the disk hangs.
  package var pending: Int

  package init(
    sessions: Int = 100_000, sessionsPerOwner: Int = 10_000, messagesPerSession: Int = 200,
    bytesPerSession: Int = 1 << 20,
    bytesPerMessage: Int = 128 << 10, pending: Int = 65_536
  ) {
    self.sessions = sessions
    self.sessionsPerOwner = sessionsPerOwner
    self.messagesPerSession = messagesPerSession
    self.bytesPerSession = bytesPerSession
    self.bytesPerMessage = bytesPerMessage
    self.pending = pending
  }
}
