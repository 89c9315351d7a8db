import NIOCore
import PoolConfiguration
import PoolCore
import QueueStore

/// What is given up, and what keeps connections alive.
extension Chat {
  /// Without an event, a stream gets a line that says nothing.
  private static let heartbeat = Duration.seconds(13)
  /// Between two looks for sessions that have expired.
  private static let expiryPause = Duration.seconds(60)

  func startTicking() {
    let chat = NIOLoopBound(self, eventLoop: loop)
    tickTask = loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in chat.value.tick() }
  }

  private func tick() {
    let now = pool.now
    for stream in streams.values where now - stream.sentAt >= Self.heartbeat && stream.hasBegun { stream.beat() }
    for socket in sockets.values where now - socket.sentAt >= Self.heartbeat { socket.beat() }
    for question in questions.values {
      guard let deadline = question.deadline, deadline <= now else { continue }
      if question.hasEnded {
        if question.viewers.isEmpty { forget(question) }
      } else {
        stop(question)
      }
    }
    while let oldest = ended.first, questions[oldest.id] == nil { dropOldestEnded() }
    if now - expiredAt >= min(Self.expiryPause, sessions.lifetime) {
      expiredAt = now
      forgetExpiredSessions()
    }
  }

  private func forgetExpiredSessions() {
    let now = expiryClock.time(.now, at: pool.now)
    store.deleteSessions(lastUsedBefore: now - sessions.lifetime).assumeIsolated().whenComplete { [self] gone in
      switch gone {
      case .success(let gone): for session in gone { sessions.remove(session) }
      case .failure(let error): pool.storeFailed("\(error)")
      }
    }
  }
}
