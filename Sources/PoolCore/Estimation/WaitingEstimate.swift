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
    /// Instances that are on their way, in the order in which they come. With no slots there is at least one.
    package var pending: [Pending]
    /// Whether no start was measured yet.
    package var isStartUpAssumed: Bool

    package struct Pending: Hashable, Sendable {
      package var slots: Int
      /// How long it still needs, and in nine of ten cases at most.
      package var startUp: Duration
      package var startUp90: Duration

      package init(slots: Int, startUp: Duration, startUp90: Duration? = nil) {
        self.slots = slots
        self.startUp = startUp
        self.startUp90 = max(startUp, startUp90 ?? startUp)
      }
    }

    package init(slots: Int, pending: [Pending] = [], isStartUpAssumed: Bool = false) {
      self.slots = slots
      self.pending = pending
      self.isStartUpAssumed = isStartUpAssumed
    }
  }

  /// - Parameters:
  ///   - ahead: how many wait before it.
  ///   - times: of the requests that were served before.
  ///   - calibration: what became of the estimates before.
  package init(ahead: Int, _ capacity: Capacity, _ times: ServiceTimes, _ calibration: Calibration = Calibration()) {
    let mean = times.mean.seconds
    let likely = Self.outlook(ahead: ahead, capacity, mean) { $0.startUp }
    let late = Self.outlook(ahead: ahead, capacity, mean) { $0.startUp90 }
    if capacity.slots > 0 {
      position = ahead + 2
    } else {
      position = max(0, ahead + 1 - capacity.pending.reduce(0) { $0 + $1.slots }) + 1
    }
    isGuess = position > 1 && times.isAssumed || capacity.slots == 0 && capacity.isStartUpAssumed
    // So many departures from so many slots: a sum of as many times, shared among the slots.
    let spread = late.departures.squareRoot() * times.deviation.seconds / max(1, late.slots)
    let deviation = spread + (late.seconds - likely.seconds) / Calibration.quantile90
    // Starts that took the same until now promise nothing to the millisecond.
    foresight = Calibration.Foresight(wait: likely.seconds, deviation: max(deviation, likely.seconds / 50))
    let (wait, wait90) = calibration.corrected(foresight)
    (self.wait, self.wait90) = (.seconds(rounding: wait), .seconds(rounding: wait90))
  }

  /// What calibration learns by: before it has corrected anything.
  let foresight: Calibration.Foresight

  private struct Outlook {
    var seconds = 0.0
    /// Of requests that are served before it.
    var departures = 0.0
    /// Of which these departures come, on average.
    var slots = 0.0
  }

  /// Slots open as requests end, so many in the time of a mean service as there are slots, and as instances come. It
  /// starts when as many have opened as wait before it, and one more.
  private static func outlook(
    ahead: Int, _ capacity: Capacity, _ mean: Double, _ startUp: (Capacity.Pending) -> Duration
  ) -> Outlook {
    var outlook = Outlook()
    var missing = Double(ahead + 1)
    var slots = Double(capacity.slots)
    /// In which requests ended.
    var serving = 0.0
    func finished() -> Outlook {
      outlook.slots = serving > 0 && mean > 0 ? outlook.departures * mean / serving : slots
      return outlook
    }
    for pending in capacity.pending {
      let until = max(outlook.seconds, startUp(pending).seconds)
      let opened = mean > 0 ? slots * (until - outlook.seconds) / mean : slots > 0 ? .infinity : 0
      if opened >= missing { break }
      if slots > 0 {
        serving += until - outlook.seconds
        outlook.departures += opened
        missing -= opened
      }
      outlook.seconds = until
      if missing <= Double(pending.slots) { return finished() }
      missing -= Double(pending.slots)
      slots += Double(pending.slots)
    }
    let rest = missing * mean / max(1, slots)
    outlook.seconds += rest
    outlook.departures += missing
    serving += rest
    return finished()
  }
}
