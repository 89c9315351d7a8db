/// Where a request stands, as people are told: whole seconds, so that only what somebody would notice is news.
package struct QueuePlace: Hashable, Sendable {
  /// From 1.
  package var position: Int
  package var etaSeconds: Int
  package var etaP90Seconds: Int
  package var isGuess: Bool

  package init(_ estimate: WaitingEstimate) {
    position = estimate.position
    etaSeconds = Self.seconds(estimate.wait)
    etaP90Seconds = Self.seconds(estimate.wait90)
    isGuess = estimate.isGuess
  }

  private init() { (position, etaSeconds, etaP90Seconds, isGuess) = (1, 0, 0, false) }

  /// Of one whose turn has come.
  package static let turn = QueuePlace()

  private static func seconds(_ time: Duration) -> Int { Int(min(max(0, time.seconds), 1e9).rounded(.up)) }
}
