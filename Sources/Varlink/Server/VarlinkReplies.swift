import Synchronization

/// The replies to one call with `more`, until the last one; for one consumer.
///
/// Replies are fetched as they are consumed: behind a slow consumer they wait in the kernel, and the service notices.
/// Letting the sequence go before its end, or cancelling the task that waits for it, closes the connection. It throws
/// what the service answered (`.remote`), `.closed`, `.malformed`, `.cancelled`.
package struct VarlinkReplies<Reply: Decodable & Sendable>: AsyncSequence, Sendable {
  package typealias Element = Reply
  package typealias Failure = VarlinkError

  private let subscription: Subscription

  init(_ subscription: Subscription) { self.subscription = subscription }

  package func makeAsyncIterator() -> Iterator { Iterator(subscription: subscription) }

  package struct Iterator: AsyncIteratorProtocol {
    let subscription: Subscription

    package mutating func next() async throws(VarlinkError) -> Reply? {
      try await subscription.next(as: Reply.self)
    }

    package mutating func next(
      isolation actor: isolated (any Actor)?
    ) async throws(VarlinkError) -> Reply? {
      try await subscription.next(as: Reply.self)
    }
  }
}

/// A stream's hold on its connection.
final class Subscription: Sendable {
  private let client: VarlinkClient
  private let method: String
  private let hasEnded = Mutex(false)

  init(client: VarlinkClient, method: String) {
    self.client = client
    self.method = method
  }

  deinit {
    guard !hasEnded.withLock({ $0 }) else { return }
    client.close(because: VarlinkError(.closed, "the stream of \(method) was let go before its end"))
  }

  /// nil after the last reply.
  func next<Reply: Decodable & Sendable>(as type: Reply.Type) async throws(VarlinkError) -> Reply? {
    if hasEnded.withLock({ $0 }) { return nil }
    do throws(VarlinkError) {
      let (reply, continues) = try VarlinkMessage.readReply(try await client.nextReply(to: method), as: type)
      if !continues { end() }
      return reply
    } catch {
      if case .remote = error.code { end() } else { client.close(because: error) }
      throw error
    }
  }

  private func end() {
    hasEnded.withLock { $0 = true }
    client.subscriptionEnded()
  }
}
