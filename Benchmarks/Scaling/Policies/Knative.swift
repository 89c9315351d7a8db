import PoolCore
import Simulation

/// Knative's pod autoscaler with its defaults: concurrency averaged over a stable window of 60 s, or over a panic window
/// of 6 s once that wants twice what is ready, at 70 % of what an instance takes.
/// https://knative.dev/docs/serving/autoscaling/kpa-specific/
struct Knative: ScalingPolicy {
  let period: Duration = .seconds(2)
  /// scale-down-delay.
  var delay: Duration = .zero
  private var seen: [(at: Instant, concurrency: Double)] = []
  private var wanted: [(at: Instant, count: Int)] = []
  private var panicUntil: Instant?
  private var panicCount = 0

  init(delay: Duration = .zero) { self.delay = delay }

  mutating func target(_ view: ScalingView, at now: Instant) -> Int {
    seen.append((now, Double(view.waiting + view.inFlight)))
    seen.removeAll { now - $0.at > .seconds(60) }
    let each = 0.7 * Double(view.slots)
    func desired(_ window: Duration) -> Int {
      let within = seen.filter { now - $0.at <= window }
      return Int((within.reduce(0) { $0 + $1.concurrency } / Double(within.count) / each).rounded(.up))
    }
    let (stable, panic) = (max(1, desired(.seconds(60))), desired(.seconds(6)))
    if panic >= 2 * max(1, view.ready) { panicUntil = now + .seconds(60) }
    var count = stable
    if let until = panicUntil, now < until {
      panicCount = max(panicCount, panic, stable)
      count = panicCount
    } else {
      panicCount = 0
    }
    wanted.append((now, count))
    wanted.removeAll { now - $0.at > delay }
    return wanted.map(\.count).max() ?? count
  }
}
