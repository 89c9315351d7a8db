/// How many instances run. The rule: need = ⌈(n + z·√n) / slots⌉, where n counts the requests queued and running.
package struct ScalingSettings: Sendable, Equatable {
  package var policy = ScalingPolicy.standard

  /// Instances that always run; 0 lets the pool go to zero.
  package var min = 1

  /// Instances that run at most; `nil` (`all`): one for each placement.
  package var max: Int?

  /// Head-room, in standard deviations of the load; `nil`: the policy's. See `headroom`.
  package var z: Double?

  /// The highest need within this time counts; `nil`: the policy's. See `window(coldStart:)`.
  package var window: Duration?

  /// How long a surplus instance stays idle before it stops; `nil`: the policy's. See `idleHold(coldStart:)`.
  package var idleHold: Duration?

  /// How long a start and load is taken to last until one has been measured.
  package var coldStart = Duration.seconds(20)

  /// Instances that may be starting at the same time.
  package var parallelStarts = 4

  package init() {}

  /// The z in force.
  package var headroom: Double { z ?? policy.headroom }

  /// The window in force where a cold start lasts `coldStart`: a given one is kept, the policy's follows the cold start
  /// within `ScalingPolicy.windowBounds`.
  package func window(coldStart: Duration) -> Duration {
    if let window { return window }
    let bounds = ScalingPolicy.windowBounds
    return Swift.min(Swift.max(coldStart * policy.windowInColdStarts, bounds.lowerBound), bounds.upperBound)
  }

  /// The idle hold in force where a cold start lasts `coldStart`.
  package func idleHold(coldStart: Duration) -> Duration {
    idleHold ?? coldStart * policy.idleHoldInColdStarts
  }
}

/// What a preset trades: GPU time against waiting time.
package enum ScalingPolicy: String, Sendable, CaseIterable {
  /// Little waiting at about 84 % of an always-on pool's GPU time.
  case standard = "default"
  /// Fewest GPU hours.
  case economy
  /// Shortest waits.
  case latency

  package static let windowBounds: ClosedRange<Duration> = .seconds(60) ... .seconds(600)

  package var headroom: Double {
    switch self {
    case .standard: 1
    case .economy: 0
    case .latency: 2
    }
  }

  package var windowInColdStarts: Int {
    switch self {
    case .standard: 6
    case .economy: 3
    case .latency: 9
    }
  }

  package var idleHoldInColdStarts: Int {
    switch self {
    case .standard, .latency: 3
    case .economy: 1
    }
  }
}

/// What may wait.
package struct QueueSettings: Sendable, Equatable {
  /// Requests that may wait at the same time.
  package var requests = 10_000

  /// Memory for the bodies of waiting requests, together.
  package var bodies = ByteCount.mebibytes(512)

  /// The largest body of one inference request.
  package var requestBody = ByteCount.mebibytes(64)

  /// How long a request may wait; `nil` (`none`): without end.
  package var maximumWait: Duration?

  package init() {}
}

/// When an instance counts as broken.
package struct HealthSettings: Sendable, Equatable {
  /// From sending a request to the first byte of its answer; covers a model's load.
  package var firstByteLimit = Duration.seconds(600)

  /// How long a begun stream may say nothing.
  package var stallTimeout = Duration.seconds(30)

  /// From an instance's start to its first healthy answer, preloading included.
  package var startTimeout = Duration.seconds(300)

  /// How long one probe may take.
  package var probeTimeout = Duration.seconds(1)

  /// Missed probes in a row that make an instance unhealthy.
  package var probeFailures = 3

  /// How long an unhealthy instance is left to recover before it is replaced.
  package var unhealthyGrace = Duration.seconds(5)

  package init() {}
}

/// What happens after an instance has failed: the pause doubles with each failure in a row up to `pauseMax`.
package struct RestartSettings: Sendable, Equatable {
  package var pause = Duration.seconds(1)
  package var pauseMax = Duration.seconds(60)

  /// Failures in a row after which the placement is left alone for `quarantine`.
  package var quarantineAfter = 5
  package var quarantine = Duration.seconds(600)

  package init() {}
}
