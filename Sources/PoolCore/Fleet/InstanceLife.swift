/// The life of the instance in one placement, as the supervisor knows it.
package enum InstanceLife: Hashable, Sendable {
  /// There is no unit. Goes to launching.
  case absent
  /// A start was ordered, in the placement as it was then. Goes to running, or to absent when it failed.
  case launching(Placement, since: Instant)
  /// The unit runs. Goes to stopping by our wish, or to absent when it ends by itself.
  case running(RunningInstance)
  /// A stop was ordered. Goes to absent when the unit is gone.
  case stopping(RunningInstance, because: StopReason)

  /// The instance that runs or is being stopped.
  package var instance: RunningInstance? {
    switch self {
    case .running(let instance), .stopping(let instance, _): instance
    case .absent, .launching: nil
    }
  }

  /// The placement as it was when what is there was started; nil while there is nothing.
  package var placement: Placement? {
    if case .launching(let placement, _) = self { placement } else { instance?.placement }
  }
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
    /// UUIDs of the GPUs it was started with; nil where the launcher doesn't know.
    package var gpus: [String]?
    /// How many requests it serves at once; nil where the launcher doesn't know.
    package var slots: Int?

    package init(
      invocation: InvocationID, mainPID: Int32, address: String, specification: String, startedAt: Instant? = nil,
      gpus: [String]? = nil, slots: Int? = nil
    ) {
      self.invocation = invocation
      self.mainPID = mainPID
      self.address = address
      self.specification = specification
      self.startedAt = startedAt
      self.gpus = gpus
      self.slots = slots
    }
  }

  /// What the dispatcher thinks of it.
  package enum Standing: Hashable, Sendable {
    /// Not ready yet, for this long.
    case starting(since: Instant)
    case ready(since: Instant)
    case unhealthy(reason: String)
  }

  package var unit: Unit
  /// Its placement as it was when it was started; the configuration may have another one by now.
  package var placement: Placement
  /// When its start was ordered, or, where another supervisor ordered it, since when it runs.
  package var launchedAt: Instant
  /// Started by this supervisor and not ready yet.
  package var isColdStart: Bool
  /// Whether the dispatcher has been there ever since it runs: only then its cold start says something.
  var isMeasurable: Bool
  /// Whether any dispatcher was told of it, so that it may serve something.
  var wasTold: Bool
  package var standing: Standing
  /// Set once it must go as soon as it is empty because the configuration has another one or none in its place.
  var outdated: DrainReason?
  package var leases = 0
  package var references = 0
  /// For how long it had been empty at the dispatcher's last word; nil while it holds something.
  package var idle: Duration?
  /// Why a retirement was asked for that is not answered yet.
  var retiring: StopReason?

  package var isRetiring: Bool { retiring != nil }
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
  case mayNotStartAnyMore
  case drained(DrainReason)
  case unhealthy(String)
  case neverReady(after: Duration)
  case foundStopping
  case poolStops

  package var description: String {
    switch self {
    case .surplus(let idle): "surplus, and empty for \(Int(idle.seconds)) s"
    case .notNeededAnyMore: "the load was gone before it had started"
    case .mayNotStartAnyMore: "it may not start there any more"
    case .drained(let reason): reason.rawValue
    case .unhealthy(let reason): "unhealthy: \(reason)"
    case .neverReady(let after): "not ready after \(Int(after.seconds)) s"
    case .foundStopping: "it was being stopped already"
    case .poolStops: "the pool stops"
    }
  }

  var isFault: Bool {
    switch self {
    case .unhealthy, .neverReady: true
    case .surplus, .notNeededAnyMore, .mayNotStartAnyMore, .drained, .foundStopping, .poolStops: false
    }
  }
}
