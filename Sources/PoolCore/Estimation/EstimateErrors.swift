/// How far the waits that were foreseen were off.
package struct EstimateErrors: Hashable, Sendable {
  package private(set) var count = 0
  /// In seconds.
  package private(set) var actual = 0.0
  package private(set) var foreseen = 0.0
  /// The sum of what each was off.
  package private(set) var off = 0.0
  /// How many waited no longer than was foreseen for nine in ten.
  package private(set) var within = 0

  package init() {}

  /// In seconds.
  /// - Parameter foreseen90: what nine in ten were to stay within.
  package mutating func add(foreseen wait: Double, foreseen90: Double, actual: Double) {
    count += 1
    self.actual += actual
    foreseen += wait
    off += abs(wait - actual)
    if actual <= foreseen90 { within += 1 }
  }

  /// The weighted absolute percentage error: what the estimates were off, of what was waited.
  package var wape: Double { actual > 0 ? off / actual : 0 }
  /// How much more was foreseen than waited, of what was waited; negative where it was less.
  package var bias: Double { actual > 0 ? (foreseen - actual) / actual : 0 }
  /// Of the waits, which were within the 90th percentile that was foreseen.
  package var coverage: Double { count > 0 ? Double(within) / Double(count) : 0 }
}
