/// How many values fell at or below each of a row of bounds, as Prometheus counts them.
package struct Histogram: Sendable, Equatable {
  /// Ascending, in the unit of the values.
  package let bounds: [Double]
  /// How many fell into each bucket alone; the last one is for what lies above all bounds.
  private var counts: [Int]
  package private(set) var sum = 0.0

  /// - Parameter bounds: ascending.
  package init(bounds: [Double]) {
    self.bounds = bounds
    counts = Array(repeating: 0, count: bounds.count + 1)
  }

  package mutating func observe(_ value: Double) {
    counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
    sum += value
  }

  package var count: Int { counts.reduce(0, +) }

  /// For each bound how many were not above it.
  package var cumulativeCounts: [Int] {
    var total = 0
    return counts.dropLast().map { count in
      total += count
      return total
    }
  }
}
