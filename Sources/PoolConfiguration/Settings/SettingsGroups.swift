package import PoolCore

/// How many instances run, as the file puts it; `rule` is what the core works with.
package struct ScalingKeys: Sendable, Equatable {
  /// A preset for `z`, `window` and `shrink`.
  package var policy = ScalingSettings.Preset.standard

  /// Instances that always run; 0 lets the pool go to zero.
  package var min = 1

  /// Instances that run at most; `nil` (`all`): one for each placement.
  package var max: Int?

  /// Other bounds at times of the day.
  package var schedule: [ScheduledBounds] = []

  /// Head-room, in standard deviations of the load; `nil` (`auto`): the policy's.
  package var z: Double?

  /// Over which the load is taken together; `nil` (`auto`): follows the measured cold start.
  package var smoothing: Duration?

  /// The highest need within this time counts; `nil` (`auto`): the policy's, which follows the measured cold start.
  package var window: Duration?

  /// The part, from 0 to 1, that may go of what was needed within `shrinkPeriod`; `nil` (`auto`): the policy's.
  package var shrink: Double?

  /// `nil` (`auto`): follows the measured cold start.
  package var shrinkPeriod: Duration?

  /// How long a surplus instance stays idle before it stops.
  package var idleHold = Duration.seconds(5)

  /// How long the last instance stays after the last request, where `min` is 0.
  package var zeroHold = Duration.seconds(600)

  /// How long a start and load is taken to last until one has been measured.
  package var coldStart = Duration.seconds(20)

  /// Instances that may be starting at the same time.
  package var parallelStarts = 4

  package init() {}

  /// The scaling rule with the policy's values where none is given.
  package var rule: ScalingSettings {
    var rule = ScalingSettings(
      policy, minimum: min, maximum: max ?? .max, z: z, smoothing: smoothing, window: window, shrink: shrink,
      shrinkPeriod: shrinkPeriod, idleHold: idleHold, zeroHold: zeroHold, coldStart: coldStart,
      parallelStarts: parallelStarts)
    rule.schedule = schedule
    return rule
  }
}

/// What is recorded of requests that ended, for replays.
package struct HistorySettings: Sendable, Equatable {
  /// For how long a request is kept.
  package var age = Duration.seconds(720 * 3_600)

  /// The latest so many are kept; 0: nothing is recorded.
  package var requests = 1_000_000

  package init() {}
}

/// What may wait.
package struct QueueSettings: Sendable, Equatable {
  /// Requests that may wait at the same time.
  package var requests = 10_000

  /// Memory for what is held of all requests: bodies until the answer begins, heads until its end, what is sent ahead.
  package var bodies = ByteCount.mebibytes(512)

  /// The largest body of one inference request.
  package var requestBody = ByteCount.mebibytes(64)

  /// How long a request may wait; `nil` (`none`): without end.
  package var maximumWait: Duration?

  /// Whether of two users in one class the one who has had less comes first.
  package var fair = false

  /// After so long in a class a request counts as of the one above; `nil` (`never`): it does not.
  package var aging: Duration? = .seconds(300)

  /// How long a request is believed to be served for before any was.
  package var assumedService = Duration.seconds(35)

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
