import Gateway
import NIOCore

/// What is to be kept.
extension Chat {
  /// Goes on once the store has done its part; without that the request fails.
  func once<Value>(_ stored: EventLoopFuture<Value>, _ exchange: Exchange, _ done: @escaping (Value) -> Void) {
    stored.assumeIsolated().whenComplete { [self] result in
      switch result {
      case .success(let value): done(value)
      case .failure(let error):
        pool.storeFailed("\(error)")
        exchange.refuse(.storeFailed)
      }
    }
  }

  /// What was to be written down and could not be is told; the chat goes on.
  func note(_ written: EventLoopFuture<Void>) {
    written.assumeIsolated().whenFailure { [self] error in pool.storeFailed("\(error)") }
  }
}
