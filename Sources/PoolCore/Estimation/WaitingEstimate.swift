/// Where a request that waits stands, and how long it will still wait.
package struct WaitingEstimate: Hashable, Sendable {
  /// Departures that are still needed before it starts, plus 1, in the order of service. So the first that waits behind
  /// busy slots is at 2, however many slots there are, and behind a cold start alone it is at 1.
  package var position: Int
  package var wait: Duration
  /// The wait is expected to be no longer in nine of ten cases.
  package var wait90: Duration
  /// Whether it is made without any experience.
  package var isGuess: Bool

  /// What there is to serve with.
  package struct Capacity: Hashable, Sendable {
    /// Of healthy instances.
    package var slots: Int
    /// Of instances that are on their way, and how long the first of them still needs. Where none is yet, one will be
    /// started.
    package var pendingSlots: Int
    package var startUp: Duration
    /// Whether no start was measured yet.
    package var isStartUpAssumed: Bool

    package init(slots: Int, pendingSlots: Int = 0, startUp: Duration = .zero, isStartUpAssumed: Bool = false) {
      self.slots = slots
      self.pendingSlots = pendingSlots
      self.startUp = startUp
      self.isStartUpAssumed = isStartUpAssumed
    }
  }

  /// - Parameters:
  ///   - ahead: how many wait before it.
  ///   - times: of the requests that were served before.
  package init(ahead: Int, _ capacity: Capacity, _ times: ServiceTimes) {
    let departures: Int
    let slots: Int
    let startUp: Duration
    if capacity.slots > 0 {
      (departures, slots, startUp) = (ahead + 1, capacity.slots, .zero)
    } else {
      slots = max(1, capacity.pendingSlots)
      (departures, startUp) = (max(0, ahead + 1 - slots), capacity.startUp)
    }
    position = departures + 1
    isGuess = departures > 0 && times.isAssumed || capacity.slots == 0 && capacity.isStartUpAssumed
    let mean = times.mean.seconds * Double(departures) / Double(slots)
    // So many departures from so many slots: a sum of as many times, shared among the slots.
    let deviation = times.deviation.seconds * Double(departures).squareRoot() / Double(slots)
    wait = startUp + .seconds(rounding: mean)
    wait90 = wait + .seconds(rounding: Self.quantile90 * deviation)
  }

  /// Of the normal distribution.
  private static let quantile90 = 1.2816
}
