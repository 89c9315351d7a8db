/// The pauses between attempts to reach the bus again.
enum Backoff {
  /// After 0, 1, 2… failures: 100 ms, 200 ms, 400 ms, 800 ms, 1.6 s, 3.2 s, then 5 s each.
  static func pauseMilliseconds(afterFailures failures: Int) -> Int {
    failures < 6 ? 100 << max(failures, 0) : 5000
  }
}
