/// The life of the instance in one placement, as the supervisor knows it.
package indirect enum InstanceLife: Hashable, Sendable {
  /// There is no unit. Goes to launching.
  case absent
  /// A start was ordered, in the placement as it was then. Goes to running, or to absent when it failed.
  case launching(Placement, since: Instant)
  /// The unit runs. Goes to stopping by our wish, or to absent when it ends by itself.
  case running(Shared<RunningInstance>)
  /// A stop was ordered. Goes to absent when the unit is gone.
  case stopping(Shared<RunningInstance>, because: StopReason)

  /// The instance that runs or is being stopped.
  package var instance: Shared<RunningInstance>? {
    switch self {
    case .running(let instance), .stopping(let instance, _): instance
    case .absent, .launching: nil
    }
  }

  var isAbsent: Bool { if case .absent = self { true } else { false } }
  /// Whether one runs or is being stopped.
  var hasUnit: Bool {
    switch self {
    case .running, .stopping: true
    case .absent, .launching: false
    }
  }

  /// Whether it serves, or will.
  var isOnItsWay: Bool {
    switch self {
    case .launching, .running: true
    case .absent, .stopping: false
    }
  }

  mutating func reserve(for models: [String]) {
    switch self {
    case .absent, .stopping: break
    case .launching(var placement, let since):
      placement.models = models
      self = .launching(placement, since: since)
    case .running(var instance):
      instance.placement.models = models
      self = .running(instance)
    }
  }

  /// The placement as it was when what is there was started, but for its models; nil while there is nothing.
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
    /// Whether it has a way out to the network; nil where the launcher doesn't know, or can't change it.
    package var hasNetwork: Bool?

    package init(
      invocation: InvocationID, mainPID: Int32, address: String, specification: String, startedAt: Instant? = nil,
      gpus: [String]? = nil, slots: Int? = nil, hasNetwork: Bool? = nil
    ) {
      self.invocation = invocation
      self.mainPID = mainPID
      self.address = address
      self.specification = specification
      self.startedAt = startedAt
      self.gpus = gpus
      self.slots = slots
      self.hasNetwork = hasNetwork
    }
  }

  /// What speaks for its going.
  struct Departure: Hashable, Sendable {
    /// For good: a fault, of its own or of its GPU. What it has begun it may finish.
    struct TakenOut: Hashable, Sendable {
      var reason: DrainReason
      /// When it is killed although it still serves; nil for never.
      var deadline: Instant?
    }

    /// Set once it must go as soon as it is empty because the configuration has another one or none in its place.
    var outdated: DrainReason?
    var takenOut: TakenOut?
    /// Whether it was told that it leaves its GPU to others.
    var isToldToYield = false
    /// Why a retirement was asked for that is not answered yet.
    var retiring: StopReason?
  }

  struct NetworkFailure: Hashable, Sendable {
    var open: Bool
    var at: Instant
  }

  /// What the dispatcher thinks of it.
  package enum Standing: Hashable, Sendable {
    /// Not ready yet, for this long.
    case starting(since: Instant)
    case ready(since: Instant)
    case unhealthy(reason: String)
  }

  @Shared package var unit: Unit
  /// Its placement as it was when it was started; the configuration may have another one by now.
  @Shared package var placement: Placement
  /// When its start was ordered, or, where another supervisor ordered it, since when it runs.
  package var launchedAt: Instant
  /// When this supervisor saw it run; nil where another one ordered its start.
  var ranAt: Instant?
  /// Started by this supervisor and not ready yet.
  package var isColdStart: Bool
  /// Whether the dispatcher has been there ever since it runs: only then its cold start says something.
  var isMeasurable: Bool
  /// Whether any dispatcher was told of it, so that it may serve something.
  var wasTold: Bool
  package var standing: Standing
  @Shared var departure = Departure()
  /// What it holds in memory, and what that says of it.
  @Shared package internal(set) var memory = InstanceMemory()
  /// The last order about its way out to the network, where it failed.
  var networkFailure: NetworkFailure?
  /// Since when the dispatcher has not been told any more that it writes the model store; nil while it does.
  var notWriterSince: Instant?
  package var leases = 0
  package var references = 0
  /// Of the references, those that change the model store.
  package var writes = 0
  /// For how long it had been empty at the dispatcher's last word; nil while it holds something.
  package var idle: Duration?
  /// Whether leases and references are what the dispatcher said, and not what is assumed until its next word.
  var isCounted = false

  package var isRetiring: Bool { departure.retiring != nil }
  package var isReady: Bool { if case .ready = standing { true } else { false } }
  package var isStarting: Bool { if case .starting = standing { true } else { false } }
  package var isEmpty: Bool { leases == 0 && references == 0 }
}

/// Why an instance finishes what it has and gets nothing new.
package enum DrainReason: Hashable, Sendable, CustomStringConvertible {
  case specificationChanged
  case placementRemoved
  case operatorDrain
  case operatorRestart
  /// Others use its GPU.
  case yields(to: String)
  /// Its GPU has failed.
  case gpuFailed(String)
  /// A program on its GPU failed, and it may have been this one.
  case suspect(String)
  /// It computes on the CPU although it has a GPU.
  case degraded(String)
  /// The same, since others had the GPU's memory when it loaded a model. They have left.
  case fitsByNow(String)

  package var description: String {
    switch self {
    case .specificationChanged: "its specification changed"
    case .placementRemoved: "its placement is no longer configured"
    case .operatorDrain: "an operator drains it"
    case .operatorRestart: "an operator restarts it"
    case .yields(let others): "it leaves its GPU to \(others)"
    case .gpuFailed(let reason): reason
    case .suspect(let event): "its process is suspect after \(event)"
    case .degraded(let reason), .fitsByNow(let reason): reason
    }
  }

  /// What the dispatcher is told.
  var role: WantedInstance.Role {
    switch self {
    case .gpuFailed, .suspect, .degraded, .fitsByNow: .out
    case .specificationChanged, .placementRemoved, .operatorDrain, .operatorRestart, .yields: .draining
    }
  }

  /// Why it is stopped in the end.
  var stopReason: StopReason {
    switch self {
    case .gpuFailed(let reason): .gpuFailed(reason)
    case .suspect(let event): .suspect(event)
    case .degraded(let reason): .degraded(reason)
    case .specificationChanged, .placementRemoved, .operatorDrain, .operatorRestart, .yields, .fitsByNow:
      .drained(self)
    }
  }
}

/// Why an instance was stopped.
package enum StopReason: Hashable, Sendable, CustomStringConvertible {
  case surplus(idle: Duration)
  case notNeededAnyMore
  case mayNotStartAnyMore
  case drained(DrainReason)
  case unhealthy(String)
  case neverReady(after: Duration)
  case gpuFailed(String)
  case suspect(String)
  case degraded(String)
  case foundStopping
  case poolStops

  package var description: String {
    switch self {
    case .surplus(let idle): "surplus, and empty for \(Int(idle.seconds)) s"
    case .notNeededAnyMore: "the load was gone before it had started"
    case .mayNotStartAnyMore: "it may not start there any more"
    case .drained(let reason): reason.description
    case .unhealthy(let reason): "unhealthy: \(reason)"
    case .neverReady(let after): "not ready after \(Int(after.seconds)) s"
    case .gpuFailed(let reason): reason
    case .suspect(let event): "suspect after \(event)"
    case .degraded(let reason): "degraded: \(reason)"
    case .foundStopping: "it was being stopped already"
    case .poolStops: "the pool stops"
    }
  }

  /// Whether the placement's next start pays for it. A GPU that fails has a back-off of its own.
  var isFailure: Bool {
    switch self {
    case .unhealthy, .neverReady, .suspect, .degraded: true
    case .surplus, .notNeededAnyMore, .mayNotStartAnyMore, .drained, .gpuFailed, .foundStopping, .poolStops: false
    }
  }

  /// Whether it is for a fault, so that nothing of the process is worth an orderly end.
  var isFault: Bool {
    if case .gpuFailed = self { true } else { isFailure }
  }
}
