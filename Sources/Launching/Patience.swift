import Dispatch
import Synchronization

/// Waiting for what may never come back, such as a file server's or a driver's answer.
package enum Patience {
  /// What a closure returns; nil where that takes longer. It runs on a thread of its own, and goes on without anybody who
  /// waits, for as long as it likes: ask again only now and then.
  package static func answer<Value: Sendable>(
    within limit: Duration, of closure: @escaping @Sendable () -> Value
  ) async -> Value? {
    let first = First<Value>()
    DispatchQueue.global().async { first.finish(closure()) }
    let nanoseconds = Int(limit / .nanoseconds(1))
    DispatchQueue.global().asyncAfter(deadline: .now() + .nanoseconds(nanoseconds)) { first.finish(nil) }
    return await first.value
  }

  /// Takes the first of two answers.
  private final class First<Value: Sendable>: Sendable {
    private enum State {
      case open
      case awaited(CheckedContinuation<Value?, Never>)
      case finished(Value?)
    }

    private let state = Mutex(State.open)

    func finish(_ value: Value?) {
      let continuation: CheckedContinuation<Value?, Never>? = state.withLock { state in
        switch state {
        case .finished: return nil
        case .open:
          state = .finished(value)
          return nil
        case .awaited(let continuation):
          state = .finished(value)
          return continuation
        }
      }
      continuation?.resume(returning: value)
    }

    var value: Value? {
      get async {
        await withCheckedContinuation { continuation in
          let early: Value?? = state.withLock { state in
            if case .finished(let value) = state { return .some(value) }
            state = .awaited(continuation)
            return .none
          }
          if let early { continuation.resume(returning: early) }
        }
      }
    }
  }
}
