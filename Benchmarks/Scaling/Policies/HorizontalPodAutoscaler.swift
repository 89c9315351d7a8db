import PoolCore
import Simulation

/// Kubernetes' autoscaler with its defaults: every 15 s, no change within a tenth, at most four more or twice as many in
/// 15 s, and down only to the most of the last five minutes.
/// https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
struct HorizontalPodAutoscaler: ScalingPolicy {
  enum Metric: Sendable {
    /// Requests that wait or run, at 80 % of what an instance takes.
    case inFlight
    /// Requests that wait, five for each instance: KEDA's scaler as vLLM's production stack has it.
    case queue
  }

  let metric: Metric
  let period: Duration
  private var recommended: [(at: Instant, count: Int)] = []
  private var count = 1

  init(_ metric: Metric) {
    self.metric = metric
    period = metric == .queue ? .seconds(30) : .seconds(15)
  }

  mutating func target(_ view: ScalingView, at now: Instant) -> Int {
    let (value, each): (Double, Double) =
      switch metric {
      case .inFlight: (Double(view.waiting + view.inFlight), 0.8 * Double(view.slots))
      case .queue: (Double(view.waiting), 5)
      }
    let ratio = value / each / Double(max(1, count))
    var desired = abs(ratio - 1) <= 0.1 ? count : Int((value / each).rounded(.up))
    desired = min(max(1, desired), max(count + 4, 2 * count))
    recommended.append((now, desired))
    recommended.removeAll { now - $0.at > .seconds(300) }
    count = max(desired, min(count, recommended.map(\.count).max() ?? desired))
    return count
  }
}
