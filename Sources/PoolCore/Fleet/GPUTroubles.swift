/// The troubles that the readings of one GPU show, so that one that comes and goes does not take instances with it each
/// time.
///
///     troubles in a row                  1      2      3      4      5 = quarantineAfter
///     left alone after it is gone for    10 s   20 s   40 s   80 s   10 min       (steady 10 s, quarantine 10 min)
///
/// A GPU that was well for as long as a quarantine has proven itself.
package struct GPUTroubles: Hashable, Sendable {
  /// What the last reading shows of what ends instances.
  package private(set) var present: GPUTrouble?
  /// The last one there was.
  package private(set) var last: GPUTrouble?
  package private(set) var inARow = 0
  /// Until when the GPU is left alone; nil while the trouble is present, or where there was none.
  package private(set) var until: Instant?
  package private(set) var isQuarantined = false

  package init() {}

  mutating func read(_ trouble: GPUTrouble?, limits: FleetLimits, at now: Instant) {
    switch (present, trouble) {
    case (nil, .some):
      if let until, now - until >= limits.restarts.quarantine { inARow = 0 }
      inARow = min(inARow + 1, Int(UInt16.max))
      isQuarantined = inARow >= limits.restarts.quarantineAfter
      until = nil
    case (.some, nil):
      until =
        now
        + (isQuarantined
          ? limits.restarts.quarantine
          : min(limits.steady * (1 << min(inARow - 1, 20)), max(limits.steady, limits.restarts.quarantine)))
    case (nil, nil), (.some, .some): break
    }
    present = trouble
    last = trouble ?? last
  }

  /// What keeps the GPU out: a trouble that is there, or was there a short while ago.
  func standing(at now: Instant) -> GPUTrouble? { present ?? until.flatMap { $0 > now ? last : nil } }

  /// An operator wipes the slate; what is still there counts as the first.
  mutating func reset() {
    let present = present
    self = GPUTroubles()
    self.present = present
    last = present
    inARow = present == nil ? 0 : 1
  }
}
