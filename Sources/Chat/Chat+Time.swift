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
    if now >= nextBeat { beat(at: now) }
    if now >= nextDeadline { giveUp(at: now) }
    while let oldest = ended.oldest, questions[oldest] == nil { ended.dropOldest() }
    if now - expiredAt >= min(Self.expiryPause, sessions.lifetime) {
      expiredAt = now
      forgetExpiredSessions()
    }
  }

  private func beat(at now: Instant) {
    nextBeat = now + Self.heartbeat
    for stream in streams.values where stream.hasBegun {
      if now - stream.sentAt >= Self.heartbeat { stream.beat() }
      nextBeat = min(nextBeat, stream.sentAt + Self.heartbeat)
    }
    for socket in sockets.values {
      if now - socket.sentAt >= Self.heartbeat { socket.beat() }
      nextBeat = min(nextBeat, socket.sentAt + Self.heartbeat)
    }
  }

  private func giveUp(at now: Instant) {
    nextDeadline = Instant(nanoseconds: .max)
    for question in questions.values {
      if let deadline = question.deadline, deadline <= now {
        if !question.hasEnded {
          stop(question)
        } else if question.viewers.isEmpty {
          forget(question)
          continue
        }
      }
      if let deadline = question.deadline { nextDeadline = min(nextDeadline, deadline) }
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
