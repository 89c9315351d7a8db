import UnixSignals

/// The signals that a daemon obeys. Made before it starts, so that none is lost.
struct StopSignals: Sendable {
  private let signals: AsyncStream<UnixSignal>

  init() async {
    let trapped = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
    let (signals, continuation) = AsyncStream.makeStream(of: UnixSignal.self)
    self.signals = signals
    // A trapped sequence can be gone through once only, and here there are two waits, one after the other.
    Task { for await signal in trapped { continuation.yield(signal) } }
  }

  /// Returns at SIGINT and SIGTERM.
  /// - Parameter reload: is called at each SIGHUP before.
  func wait(reload: () async -> Void = {}) async {
    for await signal in signals {
      guard signal == .sighup else { return }
      await reload()
    }
  }

  /// Carries out `drain`, which takes time; another signal makes it short.
  /// - Parameter hurry: must make `drain` return.
  func run(_ drain: () async -> Void, hurry: @escaping @Sendable () async -> Void) async {
    let impatience = Task {
      await wait()
      if !Task.isCancelled { await hurry() }
    }
    await drain()
    impatience.cancel()
    await impatience.value
  }
}
