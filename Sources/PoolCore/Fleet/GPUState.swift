/// What the supervisor knows of one GPU: its last reading, and what follows from those before.
package struct GPUState: Hashable, Sendable {
  /// nil where the last word of the driver had nothing of it.
  package internal(set) var reading: GPUReading?
  package internal(set) var readAt = Instant.zero
  package internal(set) var troubles = GPUTroubles()
  /// What only a reset of the GPU ends; stands until an operator says that it is over.
  package internal(set) var fault: GPUFault?
  /// To whom it is left: others have used it for `yieldAfter`, and have not been gone for so long since.
  package private(set) var leftTo: String?

  /// Since when others have used it, or have not, without a break.
  private var othersChangedAt: Instant?
  private var areOthersThere = false
  /// Bytes in use that no process was listed for while nothing of ours was there: the driver's own, and a desktop's.
  private var baseline: Int?
  /// When an instance left it; nil once the memory that it had is free.
  private(set) var leftAt: Instant?
  /// Why it is out, as it was told last.
  var toldFailure: String?
  /// The event that was told last, and when.
  private var toldEvent: GPUFault?
  private var toldEventAt = Instant.zero

  package init() {}

  /// A reading of longer ago says nothing any more.
  static let readingLifetime: Duration = .seconds(30)
  /// The same event again within this time is no news.
  private static let eventWindow: Duration = .seconds(60)

  // MARK: What happens

  /// - Parameter living: the instances that are on it.
  mutating func take(_ new: GPUReading, living: Set<InstanceID>, limits: FleetLimits, at now: Instant) {
    reading = new
    readAt = now
    // No answer says neither that it is well nor that it isn't.
    if !new.isUnanswered { troubles.read(new.troubleThatEnds, limits: limits, at: now) }
    noteOthers(new.others(beside: living), limits: limits, at: now)
    guard let unlisted = new.unlistedMemory(living: living) else { return }
    if let left = leftAt, unlisted - (baseline ?? 0) <= limits.busyMemory || now - left >= limits.settleTime {
      leftAt = nil
    }
    if leftAt == nil, living.isEmpty { baseline = unlisted }
    // What was there beside ours and is gone was no baseline.
    baseline = baseline.map { min($0, unlisted) }
  }

  /// The driver's last word had nothing of it.
  mutating func wasNotRead() { reading = nil }

  private mutating func noteOthers(_ processes: [GPUReading.Process], limits: FleetLimits, at now: Instant) {
    let areThere = processes.map { $0.memory ?? 0 }.sumOfBytes > limits.busyMemory
    if areThere != areOthersThere || othersChangedAt == nil { othersChangedAt = now }
    areOthersThere = areThere
    guard let since = othersChangedAt, now - since >= limits.yieldAfter else { return }
    leftTo = areThere ? leftTo ?? processes.prefix(2).map(\.name).joined(separator: ", ") : nil
  }

  /// Where nothing was read for long, nothing is known of others either.
  mutating func forgetOthers(at now: Instant) {
    guard reading(at: now) == nil else { return }
    (leftTo, othersChangedAt, areOthersThere) = (nil, nil, false)
  }

  /// An instance that was on it is gone.
  mutating func wasLeft(at now: Instant) { leftAt = now }

  /// - Returns: whether that is worth telling.
  mutating func hear(_ event: GPUFault, at now: Instant) -> Bool {
    if event.consequence == .resetNeeded { fault = fault ?? event }
    if toldEvent == event, now - toldEventAt < Self.eventWindow { return false }
    toldEvent = event
    toldEventAt = now
    return true
  }

  /// An operator says that it is well.
  mutating func reset() {
    fault = nil
    troubles.reset()
    toldEvent = nil
  }

  // MARK: What follows

  /// What is known of it now; nil where that is too old to say anything.
  package func reading(at now: Instant) -> GPUReading? { now - readAt <= Self.readingLifetime ? reading : nil }

  /// Why it computes nothing that can be relied on; nil where nothing of the kind is known.
  package func failure(at now: Instant) -> String? {
    fault?.text ?? troubles.standing(at: now)?.description
  }

  /// Whether only an operator's word, or a long time, brings it back.
  var isQuarantined: Bool { fault != nil || troubles.isQuarantined }

  /// When what ran on it must be gone; nil while it has not failed.
  func bound(at now: Instant, limits: FleetLimits) -> Instant? {
    guard failure(at: now) != nil else { return nil }
    return troubles.present?.consequence == .end ? now : now + limits.faultDrain
  }

  /// Whether what an instance had of it is still to become free.
  func isSettling(living: Set<InstanceID>, limits: FleetLimits, at now: Instant) -> Bool {
    guard let leftAt, now - leftAt < limits.settleTime, let reading = reading(at: now), reading.memoryUsed != nil else {
      return false
    }
    // What was read before says nothing of it.
    if readAt <= leftAt { return true }
    return reading.unlistedMemory(living: living).map { $0 - (baseline ?? 0) > limits.busyMemory } ?? false
  }

  /// Bytes that are taken whatever runs.
  var baselineMemory: Int { baseline ?? 0 }
}

extension GPUReading {
  fileprivate var isUnanswered: Bool { if case .unanswered = trouble { true } else { false } }
  /// What ends instances.
  fileprivate var troubleThatEnds: GPUTrouble? { trouble.flatMap { $0.consequence == .none ? nil : $0 } }

  /// Those that are not ours. Who can't be named is somebody else only where nothing of ours is.
  func others(beside living: Set<InstanceID>) -> [Process] {
    (processes ?? []).filter { process in
      switch process.owner {
      case .instance: false
      case .other: true
      case .unknown: living.isEmpty
      }
    }.sorted { ($0.memory ?? 0, $1.pid) > ($1.memory ?? 0, $0.pid) }
  }

  /// Bytes in use that no process is listed for, or one of an instance that is gone; nil where that is not known.
  func unlistedMemory(living: Set<InstanceID>) -> Int? {
    guard let memoryUsed else { return nil }
    if processes == nil, !living.isEmpty { return nil }
    let listed = (processes ?? []).filter { process in
      if case .instance(let id) = process.owner { living.contains(id) } else { true }
    }
    return max(0, memoryUsed) - min(max(0, memoryUsed), listed.map { $0.memory ?? 0 }.sumOfBytes)
  }

  /// Bytes; nil where that is not known.
  var freeMemory: Int? {
    guard let memoryTotal, let memoryUsed else { return nil }
    return max(0, memoryTotal) - min(max(0, memoryTotal), max(0, memoryUsed))
  }

  /// Bytes that an instance holds; nil where that is not known, as where a process can't be named.
  func memory(of id: InstanceID) -> Int? {
    guard let processes, !processes.contains(where: { $0.owner == .unknown }) else { return nil }
    return processes.filter { $0.owner == .instance(id) }.map { $0.memory ?? 0 }.sumOfBytes
  }
}
