import Dispatch
import PoolCore
import Synchronization

/// Looks at files that may be on a server which does not answer, for as long as it likes: on a thread of its own, one
/// after the other, while whoever asked waits for a limited time.
///
/// So a server that hangs costs one thread, however often it is asked, and nobody else's.
final class FileLooks: Sendable {
  /// All those of this process.
  static let shared = FileLooks()

  /// How long whoever asks usually waits.
  static let patience = Duration.seconds(5)

  private let thread = DispatchQueue(label: "ollama-pool.files.look")
  private let timers = DispatchQueue(label: "ollama-pool.files.timers")

  /// - Returns: nil where there is no answer in time. A look that has not begun by then never does.
  func look<Value: Sendable>(
    within patience: Duration = patience, _ look: @escaping @Sendable () -> Value
  ) async -> Value? {
    await withCheckedContinuation { continuation in
      let waiter = Waiter(continuation)
      thread.async { if waiter.isWaiting { waiter.finish(look()) } }
      timers.asyncAfter(deadline: .now() + patience.seconds) { waiter.finish(nil) }
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
