import Dispatch
import PoolCore
import Synchronization

/// Waiting for what may never come back, such as a file server's or a driver's answer: it is asked on a thread of its own,
/// one question after the other, while whoever asked waits for a limited time.
///
/// So what hangs costs one thread, however often it is asked, and nobody else's.
package final class Patience: Sendable {
  /// For whoever asks for files that may be on a server, in this whole process.
  package static let files = Patience()

  private let thread = DispatchQueue(label: "ollama-pool.patience.thread")
  private let timers = DispatchQueue(label: "ollama-pool.patience.timers")

  package init() {}

  /// - Returns: nil where there is no answer in time. A question that has not been asked by then never is.
  package func answer<Value: Sendable>(
    within limit: Duration = .seconds(5), of question: @escaping @Sendable () -> Value
  ) async -> Value? {
    await withCheckedContinuation { continuation in
      let waiter = Waiter(continuation)
      thread.async { if waiter.isWaiting { waiter.finish(question()) } }
      timers.asyncAfter(deadline: .now() + limit.seconds) { waiter.finish(nil) }
    }
  }

  /// Takes the first of two answers.
  private final class Waiter<Value: Sendable>: Sendable {
    private let continuation: Mutex<CheckedContinuation<Value?, Never>?>

    init(_ continuation: CheckedContinuation<Value?, Never>) { self.continuation = Mutex(continuation) }

    var isWaiting: Bool { continuation.withLock { $0 != nil } }

    func finish(_ value: Value?) { continuation.withLock { $0.take() }?.resume(returning: value) }
  }
}
