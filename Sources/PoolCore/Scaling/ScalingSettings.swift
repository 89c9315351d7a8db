/// The knobs of the scaling rule.
package struct ScalingSettings: Hashable, Sendable {
  package enum Preset: String, Hashable, Sendable, CaseIterable {
    /// z = 1, window 6 L, idle hold 3 L.
    case standard = "default"
    /// Fewer GPU hours, longer waits: z = 0, window 3 L, idle hold L.
    case economy
    /// Shorter waits, more GPU hours: z = 2, window 9 L, idle hold 3 L.
    case latency
  }

  /// Fewest and most instances.
  package var minimum: Int
  package var maximum: Int
  /// How many standard deviations of the demand are kept as headroom.
  package var z: Double
  /// H: the highest need of so long decides; nil for `windowInColdStarts` × L within 60 s and 600 s.
  package var window: Duration?
  package var windowInColdStarts: Double
  /// For how long a surplus instance must have been empty before it stops; nil for `idleHoldInColdStarts` × L.
  package var idleHold: Duration?
  package var idleHoldInColdStarts: Double
  /// L until one was measured.
  package var coldStart: Duration
  /// Cold starts at once.
  package var parallelStarts: Int

  package init(
    _ preset: Preset = .standard, minimum: Int = 1, maximum: Int = .max, z: Double? = nil, window: Duration? = nil,
    idleHold: Duration? = nil, coldStart: Duration = .seconds(20), parallelStarts: Int = 4
  ) {
    self.minimum = minimum
    self.maximum = maximum
    let (z0, inWindow, inHold): (Double, Double, Double) =
      switch preset {
      case .standard: (1, 6, 3)
      case .economy: (0, 3, 1)
      case .latency: (2, 9, 3)
      }
    self.z = z ?? z0
    self.window = window
    windowInColdStarts = inWindow
    self.idleHold = idleHold
    idleHoldInColdStarts = inHold
    self.coldStart = coldStart
    self.parallelStarts = parallelStarts
  }

  /// H for a cold start of `coldStart`.
  func window(coldStart: Duration) -> Duration {
    window ?? min(max(coldStart * windowInColdStarts, .seconds(60)), .seconds(600))
  }

  func idleHold(coldStart: Duration) -> Duration { idleHold ?? coldStart * idleHoldInColdStarts }
}
