/// The life of the instance in one placement, as the supervisor knows it.
package enum InstanceLife: Hashable, Sendable {
  /// There is no unit. Goes to launching.
  case absent
  /// A start was ordered. Goes to running, or to absent when it failed.
  case launching(since: Instant)
  /// The unit runs. Goes to stopping by our wish, or to absent when it ends by itself.
  case running(RunningInstance)
  /// A stop was ordered. Goes to absent when the unit is gone.
  case stopping(InvocationID, since: Instant, because: StopReason)
}

package struct RunningInstance: Hashable, Sendable {
  /// What the launcher tells of a unit that runs.
  package struct Unit: Hashable, Sendable {
    package var invocation: InvocationID
    package var mainPID: Int32
    /// As `127.0.0.1:11500`.
    package var address: String
    /// The digest that it was started with.
    package var specification: String
    /// Since when it runs; nil where the launcher doesn't know.
    package var startedAt: Instant?

    package init(
      invocation: InvocationID, mainPID: Int32, address: String, specification: String, startedAt: Instant? = nil
    ) {
      self.invocation = invocation
      self.mainPID = mainPID
      self.address = address
      self.specification = specification
      self.startedAt = startedAt
    }
  }

  /// What the dispatcher thinks of it.
  package enum Standing: Hashable, Sendable {
    /// Not ready yet, so long.
    case starting(since: Instant)
    case ready(since: Instant)
    case unhealthy(reason: String)
  }

  package var unit: Unit
  /// When its start was ordered, or, where another supervisor ordered it, since when it runs.
  package var launchedAt: Instant
  /// Started by this supervisor and not ready yet: its cold start is still to be measured.
  package var isColdStart: Bool
  package var standing: Standing
  /// Set once it must go as soon as it is empty.
  package var drain: Drain?
  package var leases = 0
  package var references = 0
  /// Since when it has been empty, by the dispatcher's last word; nil while it holds something.
  package var idle: Duration?
  /// A retirement was asked for and not answered yet.
  var isRetiring = false

  package struct Drain: Hashable, Sendable {
    package var reason: DrainReason
    /// When it is stopped although it still serves; nil for never.
    package var deadline: Instant?
  }

  package var isReady: Bool { if case .ready = standing { true } else { false } }
  package var isStarting: Bool { if case .starting = standing { true } else { false } }
  package var isEmpty: Bool { leases == 0 && references == 0 }
}

/// Why an instance finishes what it has and gets nothing new.
package enum DrainReason: String, Hashable, Sendable, CaseIterable {
  case specificationChanged = "its specification changed"
  case placementRemoved = "its placement is no longer configured"
  case operatorDrain = "an operator drains it"
  case operatorRestart = "an operator restarts it"
}

/// Why an instance was stopped.
package enum StopReason: Hashable, Sendable, CustomStringConvertible {
  case surplus(idle: Duration)
  case notNeededAnyMore
  case drained(DrainReason)
  case unhealthy(String)
  case neverReady(after: Duration)
  case poolStops

  package var description: String {
    switch self {
    case .surplus(let idle): "surplus, and empty for \(Int(idle.seconds)) s"
    case .notNeededAnyMore: "the load was gone before it had started"
    case .drained(let reason): reason.rawValue
    case .unhealthy(let reason): "unhealthy: \(reason)"
    case .neverReady(let after): "not ready after \(Int(after.seconds)) s"
    case .poolStops: "the pool stops"
    }
  }

  var isFault: Bool {
    switch self {
    case .unhealthy, .neverReady: true
    case .surplus, .notNeededAnyMore, .drained, .poolStops: false
    }
  }
}
