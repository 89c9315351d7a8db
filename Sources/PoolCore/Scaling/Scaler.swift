/// How many instances there should be, with the reason.
///
///     m      = n, the requests that want a slot, smoothed over the better part of a cold start
///     need   = ceil((m + z·√m) / N)            at least 1 where n > 0
///     kept   = floor((1 − shrink) × highest need of the last shrink period)
///     target = clamp(highest need of the last H, or kept if that is more, minimum, maximum)
///
/// N is the number of slots of an instance. The square root is the headroom of square-root staffing (Halfin and Whitt,
/// 1981). n is smoothed, because what is over before an instance has started needs none; the maximum over a window
/// then stands in place of a mean, which hides bursts (as knative#9092 found). That of the instances of the last
/// minutes only a part may go is the percent policy of Kubernetes' HorizontalPodAutoscaler: a burst finds most of what
/// the one before had needed, where requests are so short that nothing started for it would come in time.
/// What is already starting counts as capacity; otherwise a cold start is answered with start after start.
package struct Scaler: Sendable {
  package var settings: ScalingSettings
  /// Set by an operator: the bounds that hold instead of the configured ones, for a time.
  package var override: Override?
  /// By which the schedule counts; nil where nobody knows.
  package var localTime: WeekTime?
  package private(set) var coldStarts = ColdStarts()
  /// m; nil before the first observation, which counts as it is.
  private var demand: Double?
  private var needs = WindowMaximum()
  private var peaks = WindowMaximum()
  private var lastObservation: Instant?
  private var lastDemand: Instant?

  /// An observation older than this says nothing any more: "no data" is not zero.
  package static let observationLifetime: Duration = .seconds(15)

  package struct Override: Hashable, Sendable {
    /// At least 0 each.
    package let minimum: Int?
    package let maximum: Int?
    /// When it ends; nil for never.
    package var until: Instant?

    package init(minimum: Int?, maximum: Int?, until: Instant?) {
      self.minimum = minimum.map { max(0, $0) }
      self.maximum = maximum.map { max(0, $0) }
      self.until = until
    }
  }

  package init(settings: ScalingSettings) { self.settings = settings }

  /// L now.
  package var coldStart: Duration { coldStarts.typical(assumed: settings.coldStart) }
  private var window: Duration { settings.window(coldStart: coldStart) }
  private var shrinkPeriod: Duration { settings.shrinkPeriod(coldStart: coldStart) }

  package mutating func measured(coldStart: Duration) { coldStarts.add(coldStart) }

  /// The dispatcher said what it sees.
  ///
  /// - Parameters:
  ///   - demand: n, requests waiting and in flight.
  ///   - slots: N, at least 1.
  package mutating func observed(demand n: Int, slots: Int, at now: Instant) {
    let smoothing = settings.smoothing(coldStart: coldStart)
    if let old = demand, let since = lastObservation, smoothing > .zero {
      // An exponential mean whose step needs no exponential, and that no silence makes unstable.
      let elapsed = now - since
      demand = (old * smoothing.seconds + Double(n) * elapsed.seconds) / (smoothing + elapsed).seconds
    } else {
      demand = Double(n)
    }
    lastObservation = now
    if n > 0 { lastDemand = now }
    remember(max(need(demand: demand ?? 0, slots: slots), n > 0 ? 1 : 0), at: now)
  }

  /// `count` instances exist and nothing is known of why: after a restart, or after a silence of the dispatcher, the
  /// pool does not shrink below them for H.
  package mutating func assumeNeeded(_ count: Int, at now: Instant) {
    remember(count, at: now)
    if count > 0 { lastDemand = now }
  }

  private mutating func remember(_ need: Int, at now: Instant) {
    needs.add(need, at: now)
    peaks.add(need, at: now)
  }

  /// Smoothed, what is over never comes to nothing.
  private static let negligible = 0.05

  package func need(demand: Double, slots: Int) -> Int {
    guard demand > Self.negligible else { return 0 }
    return max(1, Int(((demand + settings.z * demand.squareRoot()) / Double(max(1, slots))).rounded(.up)))
  }

  /// Fewest and most instances now: as an operator orders, else by the schedule, else as configured.
  package var bounds: Bounds {
    let held = localTime.map { time in settings.schedule.filter { $0.holds(at: time) } } ?? []
    func bound(
      _ ordered: Int?, _ scheduled: KeyPath<ScheduledBounds, Int?>, _ configured: Int
    ) -> (Int, BoundOrigin) {
      if let ordered { return (ordered, .operator) }
      if let bound = held.lazy.compactMap({ $0[keyPath: scheduled] }).first { return (bound, .schedule) }
      return (configured, .configuration)
    }
    let (minimum, minimumOrigin) = bound(override?.minimum, \.minimum, settings.minimum)
    let (maximum, maximumOrigin) = bound(override?.maximum, \.maximum, settings.maximum)
    // A maximum for the night is not contradicted by the minimum of all days.
    let isLowered = maximumOrigin == .schedule && minimumOrigin == .configuration && maximum < minimum
    return Bounds(
      minimum: isLowered ? maximum : minimum, minimumOrigin: isLowered ? .schedule : minimumOrigin, maximum: maximum,
      maximumOrigin: maximumOrigin)
  }

  package struct Bounds: Hashable, Sendable {
    package let minimum: Int
    package let minimumOrigin: BoundOrigin
    package let maximum: Int
    package let maximumOrigin: BoundOrigin
  }

  /// The decision for now. `capacity` is how many placements could run an instance.
  package mutating func target(capacity: Int, at now: Instant) -> ScalingDecision {
    if let until = override?.until, until <= now { override = nil }
    let bounds = bounds
    let (minimum, maximum) = (bounds.minimum, min(bounds.maximum, capacity))
    let isBlind = lastObservation.map { now - $0 > Self.observationLifetime } ?? true
    let (wanted, reason) = wanted(maximum: maximum, at: now)
    let target = min(max(wanted, minimum), maximum)
    guard max(wanted, minimum) <= maximum else {
      return ScalingDecision(
        target: target,
        reason: .limited(
          wanted >= minimum ? .requests(need: wanted) : .minimum(minimum),
          by: capacity < bounds.maximum ? .placements(capacity) : .maximum(bounds.maximumOrigin)),
        mayShrink: !isBlind)
    }
    return ScalingDecision(
      target: target, reason: wanted > minimum ? reason : .minimum(bounds.minimumOrigin), mayShrink: !isBlind)
  }

  private mutating func wanted(maximum: Int, at now: Instant) -> (count: Int, ScalingReason) {
    let need = needs.maximum(window: window, at: now)
    let peak = peaks.maximum(window: shrinkPeriod, at: now)
    let (wanted, ago) = (need?.value ?? 0, now - (need?.at ?? now))
    // Of what there could be: beyond that nothing has ever run that could be kept. What a product lacks for lack of
    // precision must not cost an instance.
    let highest = min(peak?.value ?? 0, maximum)
    let kept = Int(Double(highest) * (1 - settings.shrink) + 1e-9)
    if kept > wanted {
      return (kept, .shrinkLimit(settings.shrink, of: highest, ago: now - (peak?.at ?? now), within: shrinkPeriod))
    }
    if wanted == 0, maximum > 0, let last = lastDemand, now - last < settings.zeroHold {
      return (1, .zeroHold(ago: now - last))
    }
    return (wanted, .demand(need: wanted, ago: ago))
  }
}

package struct ScalingDecision: Hashable, Sendable {
  package var target: Int
  package var reason: ScalingReason
  /// False while nothing is heard of the dispatcher.
  package var mayShrink: Bool
}

/// Whose bound holds.
package enum BoundOrigin: String, Hashable, Sendable, CustomStringConvertible {
  case configuration = "the configured"
  case schedule = "the schedule's"
  case `operator` = "the operator's"

  package var description: String { rawValue }
}

/// Why the target is what it is; journal, command line and control socket print the same sentence.
package enum ScalingReason: Hashable, Sendable, CustomStringConvertible {
  /// The highest need of the window, seen so long ago.
  case demand(need: Int, ago: Duration)
  /// Of so many that were needed so long ago only a part may go within a time.
  case shrinkLimit(_ part: Double, of: Int, ago: Duration, within: Duration)
  /// The last one stays for a time after the last request.
  case zeroHold(ago: Duration)
  case minimum(BoundOrigin)
  /// More are wanted than there can be.
  case limited(Wish, by: Limit)
  /// The dispatcher has not said anything: hold what is there, start up to the minimum.
  case noObservation

  package enum Wish: Hashable, Sendable {
    case requests(need: Int)
    case minimum(Int)
  }

  package enum Limit: Hashable, Sendable {
    case maximum(BoundOrigin)
    /// There are so many that may run an instance.
    case placements(Int)
  }

  package var description: String {
    switch self {
    case .demand(let need, let ago) where ago < .seconds(2): "the requests of now need \(need)"
    case .demand(let need, let ago): "the busiest moment, \(Int(ago.seconds)) s ago, needed \(need)"
    case .shrinkLimit(let part, let highest, let ago, let period):
      "at most \(Int((part * 100).rounded())) % of the \(highest) that were needed \(Int(ago.seconds)) s ago may go within "
        + "\(Int(period.seconds)) s"
    case .zeroHold(let ago): "the last request was here \(Int(ago.seconds)) s ago"
    case .minimum(let origin): "\(origin) minimum"
    case .limited(let wish, let limit): "\(wish), but \(limit)"
    case .noObservation: "the dispatcher has not been heard of: nothing shrinks"
    }
  }
}

extension ScalingReason.Wish: CustomStringConvertible {
  package var description: String {
    switch self {
    case .requests(let need): "the requests need \(need)"
    case .minimum(let minimum): "the minimum is \(minimum)"
    }
  }
}

extension ScalingReason.Limit: CustomStringConvertible {
  package var description: String {
    switch self {
    case .maximum(let origin): "\(origin) maximum is reached"
    case .placements(0): "no placement may run one"
    case .placements(let count): "there are placements for \(count)"
    }
  }
}
