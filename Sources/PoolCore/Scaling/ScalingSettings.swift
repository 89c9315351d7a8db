/// The knobs of the scaling rule.
package struct ScalingSettings: Hashable, Sendable {
  package enum Preset: String, Hashable, Sendable, CaseIterable {
    case standard = "default"
    /// Fewer GPU hours, longer waits.
    case economy
    /// Shorter waits, more GPU hours.
    case latency

    /// z, H in cold starts, and the part of the instances that may go.
    var values: (z: Double, window: Double, shrink: Double) {
      switch self {
      case .standard: (1, 6, 0.25)
      case .economy: (0.5, 3, 0.5)
      case .latency: (2, 9, 0.1)
      }
    }
  }

  /// Fewest and most instances.
  package var minimum: Int
  package var maximum: Int
  /// Of several that hold the first that says something of a bound counts.
  package var schedule: [ScheduledBounds] = []
  /// How many standard deviations of the demand are kept as headroom.
  package var z: Double
  /// Over which the demand is taken together; nil for 0.6 L.
  package var smoothing: Duration?
  /// H: the highest need of so long decides; nil for `windowInColdStarts` × L within 60 s and 600 s.
  package var window: Duration?
  package var windowInColdStarts: Double
  /// Of the instances that the last `shrinkPeriod` needed, the part that may go; from 0 to 1.
  package var shrink: Double
  /// nil for 45 L, within 5 and 30 minutes.
  package var shrinkPeriod: Duration?
  /// For how long a surplus instance must have been empty before it stops.
  package var idleHold: Duration
  /// For how long after the last request the last instance stays, where the minimum is 0.
  package var zeroHold: Duration
  /// L until one was measured.
  package var coldStart: Duration
  /// Cold starts at once.
  package var parallelStarts: Int

  package init(
    _ preset: Preset = .standard, minimum: Int = 1, maximum: Int = .max, z: Double? = nil, smoothing: Duration? = nil,
    window: Duration? = nil, shrink: Double? = nil, shrinkPeriod: Duration? = nil, idleHold: Duration = .seconds(5),
    zeroHold: Duration = .seconds(600), coldStart: Duration = .seconds(20), parallelStarts: Int = 4
  ) {
    self.minimum = minimum
    self.maximum = maximum
    let values = preset.values
    self.z = z ?? values.z
    self.smoothing = smoothing
    self.window = window
    windowInColdStarts = values.window
    self.shrink = shrink ?? values.shrink
    self.shrinkPeriod = shrinkPeriod
    self.idleHold = idleHold
    self.zeroHold = zeroHold
    self.coldStart = coldStart
    self.parallelStarts = parallelStarts
  }

  /// These two, and the presets, were chosen in simulation: docs/scaling.md has the figures.
  package static let smoothingInColdStarts = 0.6
  package static let shrinkPeriodInColdStarts = 45.0

  func smoothing(coldStart: Duration) -> Duration { smoothing ?? coldStart * Self.smoothingInColdStarts }

  /// H for a cold start of `coldStart`.
  func window(coldStart: Duration) -> Duration {
    window ?? min(max(coldStart * windowInColdStarts, .seconds(60)), .seconds(600))
  }

  func shrinkPeriod(coldStart: Duration) -> Duration {
    shrinkPeriod ?? min(max(coldStart * Self.shrinkPeriodInColdStarts, .seconds(300)), .seconds(1_800))
  }
}
