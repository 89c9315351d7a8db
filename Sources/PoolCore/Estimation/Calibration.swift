/// What became of the waits that were foreseen, and what that makes of the next.
package struct Calibration: Hashable, Sendable {
  /// In seconds, as far as the waits before say nothing about it.
  struct Foresight: Hashable, Sendable {
    var wait: Double
    /// The standard deviation.
    var deviation: Double
  }

  /// Of the normal distribution.
  static let quantile90 = 1.2816
  /// So many waits are remembered; older ones count less and less. Waits of one rush are off by the same, so that
  /// fewer would take the mood of the last one for the truth.
  private static let memory = 1_000.0
  /// So many waits that were as foreseen are taken to have been before the first.
  private static let trust = 200.0
  /// By how much one that was off moves the upper end.
  private static let step = 0.1

  private var count = 0.0
  /// What is left of ``trust``.
  private var trusted = Self.trust
  /// In seconds.
  private var foreseen = 0.0
  private var actual = 0.0
  /// So many deviations above the wait nine in ten stay below. Moved up by each that was longer and down by each that
  /// was not, so that in the end one in ten is, whatever the distribution: adaptive conformal inference (Gibbs and
  /// Candès, 2021).
  private var quantile = Self.quantile90

  package init() {}

  /// By which what is foreseen is to be multiplied.
  private var factor: Double {
    guard foreseen > 0 else { return 1 }
    let assumed = foreseen / count * trusted
    return min(2, max(0.5, (actual + assumed) / (foreseen + assumed)))
  }

  /// In seconds.
  func corrected(_ foresight: Foresight) -> (wait: Double, wait90: Double) {
    let wait = foresight.wait * factor
    return (wait, wait + max(0, quantile * foresight.deviation))
  }

  /// - Parameters:
  ///   - actual: how long it was, in seconds.
  ///   - told90: what nine in ten were to stay within, as it was told then: since then others have been learnt from.
  mutating func learn(_ foresight: Foresight, actual: Double, told90: Double) {
    quantile += Self.step * (actual > told90 ? 0.9 : -0.1)
    // Below what is foreseen it does nothing, and would have to come back first.
    quantile = min(6, max(0, quantile))
    let kept = 1 - 1 / Self.memory
    count = count * kept + 1
    trusted *= kept
    foreseen = foreseen * kept + foresight.wait
    self.actual = self.actual * kept + actual
  }
}

/// One for each model and priority, since what they are served with, and who comes before them, differs.
package struct Calibrations: Sendable {
  private struct Key: Hashable, Sendable {
    var model: String?
    var priority: Int
  }

  /// What a request was told when it came. Each that waits has one, so it is small.
  struct Promise: Hashable, Sendable {
    private let wait: Float
    private let deviation: Float
    private let told: Float
    fileprivate let told90: Float

    init(_ estimate: WaitingEstimate) {
      (wait, deviation) = (Float(estimate.foresight.wait), Float(estimate.foresight.deviation))
      (told, told90) = (Float(estimate.wait.seconds), Float(estimate.wait90.seconds))
    }

    fileprivate var foresight: Calibration.Foresight {
      Calibration.Foresight(wait: Double(wait), deviation: Double(deviation))
    }

    fileprivate func hold(against actual: Double, _ errors: inout EstimateErrors) {
      errors.add(foreseen: Double(told), foreseen90: Double(told90), actual: actual)
    }
  }

  /// Clients make the models' names up, but only what was served counts.
  private static let most = 256
  private var calibrations: [Key: Calibration] = [:]
  /// By the priority of the requests.
  package private(set) var errors: [Int: EstimateErrors] = [:]

  /// A model of which nothing is known is taken for one like all others.
  subscript(model: String?, priority priority: Int) -> Calibration {
    calibrations[Key(model: model, priority: priority)] ?? calibrations[Key(model: nil, priority: priority)]
      ?? Calibration()
  }

  /// - Parameter wait: how long it was in the end.
  mutating func learn(_ promise: Promise, wait: Duration, of request: DispatchRequest) {
    promise.hold(against: wait.seconds, &errors[request.share.priority, default: EstimateErrors()])
    for model in [request.model, nil].prefix(request.model == nil ? 1 : 2) {
      let key = Key(model: model, priority: request.share.priority)
      guard calibrations[key] != nil || model == nil || calibrations.count < Self.most else { continue }
      calibrations[key, default: Calibration()].learn(
        promise.foresight, actual: wait.seconds, told90: Double(promise.told90))
    }
  }
}
