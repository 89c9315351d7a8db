/// How many instances there should be, with the reason.
///
///     need   = ceil((n + z·√n) / N)            at least 1 where n > 0
///     target = clamp(highest need of the last H, minimum, maximum)
///
/// n is the number of requests that want a slot, N the slots of an instance: square-root staffing (Halfin and Whitt,
/// 1981), with the maximum over a window in place of a mean, because a mean hides bursts (as knative#9092 found).
/// What is already starting counts as capacity; otherwise a cold start is answered with start after start.
package struct Scaler: Sendable {
  package var settings: ScalingSettings
  /// Set by an operator: the bounds that hold instead of the configured ones, for a time.
  package var override: Override?
  package private(set) var coldStarts = ColdStarts()
  private var needs = WindowMaximum()
  private var lastObservation: Instant?

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
  package var idleHold: Duration { settings.idleHold(coldStart: coldStart) }
  package var window: Duration { settings.window(coldStart: coldStart) }

  package mutating func measured(coldStart: Duration) { coldStarts.add(coldStart) }

  /// The dispatcher said what it sees.
  ///
  /// - Parameters:
  ///   - demand: n, requests waiting and in flight.
  ///   - slots: N, at least 1.
  package mutating func observed(demand: Int, slots: Int, at now: Instant) {
    lastObservation = now
    needs.add(need(demand: demand, slots: slots), at: now)
  }

  /// `count` instances exist and nothing is known of why: after a restart, or after a silence of the dispatcher, the
  /// pool does not shrink below them for H.
  package mutating func assumeNeeded(_ count: Int, at now: Instant) { needs.add(count, at: now) }

  package func need(demand: Int, slots: Int) -> Int {
    guard demand > 0 else { return 0 }
    let n = Double(demand)
    return max(1, Int(((n + settings.z * n.squareRoot()) / Double(max(1, slots))).rounded(.up)))
  }

  /// The decision for now. `capacity` is how many placements could run an instance.
  package mutating func target(capacity: Int, at now: Instant) -> ScalingDecision {
    if let until = override?.until, until <= now { override = nil }
    let limit = override?.maximum ?? settings.maximum
    let maximum = min(limit, capacity)
    let minimum = override?.minimum ?? settings.minimum
    let peak = needs.maximum(window: window, at: now)
    let isBlind = lastObservation.map { now - $0 > Self.observationLifetime } ?? true

    let wanted = peak?.value ?? 0
    let target = min(max(wanted, minimum), maximum)
    let reason: ScalingReason =
      if max(wanted, minimum) > maximum {
        .limited(
          wanted >= minimum ? .requests(need: wanted) : .minimum(minimum),
          by: capacity < limit ? .placements(capacity) : .maximum(isOverride: override?.maximum != nil))
      } else if wanted <= minimum {
        .minimum(isOverride: override?.minimum != nil)
      } else {
        .demand(need: wanted, ago: now - (peak?.at ?? now))
      }
    return ScalingDecision(target: target, reason: reason, mayShrink: !isBlind)
  }
}

package struct ScalingDecision: Hashable, Sendable {
  package var target: Int
  package var reason: ScalingReason
  /// False while nothing is heard of the dispatcher.
  package var mayShrink: Bool
}

/// Why the target is what it is; journal, command line and control socket print the same sentence.
package enum ScalingReason: Hashable, Sendable, CustomStringConvertible {
  /// The highest need of the window, seen so long ago.
  case demand(need: Int, ago: Duration)
  case minimum(isOverride: Bool)
  /// More are wanted than there can be.
  case limited(Wish, by: Limit)
  /// The dispatcher has not said anything: hold what is there, start up to the minimum.
  case noObservation

  package enum Wish: Hashable, Sendable {
    case requests(need: Int)
    case minimum(Int)
  }

  package enum Limit: Hashable, Sendable {
    case maximum(isOverride: Bool)
    /// There are so many that may run an instance.
    case placements(Int)
  }

  package var description: String {
    switch self {
    case .demand(let need, let ago) where ago < .seconds(2): "the requests of now need \(need)"
    case .demand(let need, let ago): "the busiest moment, \(Int(ago.seconds)) s ago, needed \(need)"
    case .minimum(let isOverride): isOverride ? "the operator's minimum" : "the configured minimum"
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
    case .maximum(let isOverride): "the \(isOverride ? "operator's maximum" : "maximum") is reached"
    case .placements(0): "no placement may run one"
    case .placements(let count): "there are placements for \(count)"
    }
  }
}
