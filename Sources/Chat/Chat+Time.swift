import Gateway
import NIOCore
import PoolCore

/// Which questions are still to be told their places. Many change at once, so they are told in slices: nobody else waits
/// longer for it.
struct PlaceUpdates {
  var lastAt: Instant?
  var isDue = false
  var queue: [String] = []
}

/// Places that change, and what is given up.
extension Chat {
  /// Between two updates of the same place.
  private static let updatePause = Duration.seconds(1)
  /// Changes that come at nearly the same time are told together.
  private static let updateQuiet = Duration.milliseconds(20)
  /// Questions that are told their places before others have their turn.
  private static let slice = 200
  /// Without an event, a stream gets a line that says nothing.
  private static let heartbeat = Duration.seconds(13)

  /// The queue has changed.
  package func queueChanged() {
    guard !updates.isDue, updates.queue.isEmpty, !questions.isEmpty else { return }
    updates.isDue = true
    let now = pool.now
    let due = max(now + Self.updateQuiet, (updates.lastAt ?? now) + (updates.lastAt == nil ? .zero : Self.updatePause))
    loop.assumeIsolated().scheduleTask(in: .nanoseconds((due - now).nanoseconds)) { [self] in
      updates.isDue = false
      updates.lastAt = pool.now
      updates.queue = questions.values.filter(\.waitsForPlace).map(\.id)
      tellPlaces()
    }
  }

  private func tellPlaces() {
    for id in updates.queue.suffix(Self.slice) {
      guard let question = questions[id], question.waitsForPlace, let exchange = question.exchange,
        let estimate = pool.estimate(for: exchange.id)
      else { continue }
      question.tellPlace(estimate)
    }
    updates.queue.removeLast(min(Self.slice, updates.queue.count))
    guard !updates.queue.isEmpty else { return }
    loop.assumeIsolated().execute { [self] in tellPlaces() }
  }

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
      if case .ended = question.phase {
        if question.viewers.isEmpty { forget(question) }
      } else {
        stop(question, because: .unwatched)
      }
    }
    while let oldest = ended.first, questions[oldest] == nil { ended.removeFirst() }
  }
}

extension Question {
  /// Whether somebody wants to know its place.
  fileprivate var waitsForPlace: Bool {
    if case .open = phase { !viewers.isEmpty } else { false }
  }
}
