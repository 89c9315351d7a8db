import PoolCore
import Simulation

/// A rule to come: an instance stays as long as the load of the last minutes makes it likely that it is needed again
/// soon.
///
/// The number of requests in flight is taken for negative binomial, a Poisson number whose rate varies, with the mean and
/// the variance of the last minutes. More than N (k − 1) of them need the k-th instance; how often that many are
/// passed is the rate at which requests come, times the probability of being just there. The k-th stays while the
/// expected time between two such passages is less than `horizon`, and for `hold` after it was last needed.
struct Recurrence: ScalingPolicy {
  let period: Duration = .seconds(1)
  /// Standard deviations of head-room, as in the rule.
  let z: Double
  /// In seconds.
  let horizon: Double
  let hold = 60.0
  /// Over which mean, variance and rate are taken, in seconds.
  let memory = 600.0
  /// Over which the requests of now are, in seconds: what is over before an instance has started needs none.
  let smoothing = 10.0
  private var present = 0.0
  private var mean = 0.0
  private var variance = 0.0
  private var rate = 0.0
  private var last = 0
  private var target = 1
  private var idleSince: [Int: Instant] = [:]

  init(z: Double, horizon: Double) {
    (self.z, self.horizon) = (z, horizon)
  }

  mutating func target(_ view: ScalingView, at now: Instant) -> Int {
    let n = view.waiting + view.inFlight
    let part = 1 / memory
    mean += part * (Double(n) - mean)
    variance += part * ((Double(n) - mean) * (Double(n) - mean) - variance)
    rate += part * (Double(max(0, n - last)) - rate)
    last = n
    present += (Double(n) - present) / smoothing
    let wanted = (present + z * present.squareRoot()) / Double(view.slots)
    let need = max(1, Int(wanted.rounded(.up)))
    var count = need
    for k in 1...max(1, view.gpus) {
      guard k > need else {
        idleSince[k] = nil
        continue
      }
      guard k <= target else { continue }
      let since = idleSince[k] ?? now
      idleSince[k] = since
      let passages = rate * chance(of: view.slots * (k - 1))
      if passages * horizon > 1 || (now - since).seconds < hold { count = max(count, k) }
    }
    target = count
    return count
  }

  private func chance(of level: Int) -> Double {
    let mean = max(mean, 0.01)
    let excess = max(variance - mean, 1e-6 * mean)
    let (r, p) = (mean * mean / excess, excess / (mean + excess))
    var (weight, sum, at) = (1.0, 1.0, level == 0 ? 1.0 : 0.0)
    var k = 1
    while k <= level || weight > 1e-9 * sum || Double(k) < mean {
      weight *= (Double(k - 1) + r) / Double(k) * p
      sum += weight
      if k == level { at = weight }
      if sum > 1e200 { (weight, sum, at) = (weight * 1e-200, sum * 1e-200, at * 1e-200) }
      k += 1
    }
    return at / sum
  }
}
