import PoolCore
import Simulation

/// Who knows what comes: starts a cold start ahead of what a pool that is always whole would need, and keeps nothing
/// that is not needed within one.
struct Clairvoyant: ScalingPolicy {
  let period: Duration = .seconds(1)
  private let coldStart: Int
  private let slots: Int
  /// For each second.
  private var needs: [Int] = [1]

  init(slots: Int, coldStart: Duration) {
    self.slots = slots
    self.coldStart = Int(coldStart.seconds.rounded(.up)) + 1
  }

  /// - Parameter log: of the same workload.
  mutating func learn(_ log: ReplayLog) {
    let span = Int((log.ended - log.began).seconds) + 2
    var changes = [Int](repeating: 0, count: span + 1)
    for request in log.requests {
      guard let started = request.startedAt, let ended = request.endedAt else { continue }
      changes[max(0, Int((started - log.began).seconds))] += 1
      changes[max(0, Int((ended - log.began).seconds)) + 1] -= 1
    }
    var running = 0
    for (second, change) in changes.enumerated() {
      running += change
      let need = max(1, (running + slots - 1) / slots)
      if second < needs.count { needs[second] = max(needs[second], need) } else { needs.append(need) }
    }
  }

  mutating func target(_ view: ScalingView, at now: Instant) -> Int {
    let second = Int(now.nanoseconds / 1_000_000_000)
    let from = min(max(0, second), needs.count - 1)
    return needs[from...min(needs.count - 1, max(from, second + coldStart))].max() ?? 1
  }
}
