import NIOCore
import PoolCore
import QueueStore

/// What users have used, by minutes of the wall clock: the core's clock begins anew with the machine.
struct UsageKeeping {
  /// For so many minutes of the wall clock it counts: as long as in the core, and one more, since the minutes of the
  /// two clocks don't begin together.
  static let minutes = Int64(UsageLedger.minutes) + 1
  /// Of `savePause`, after which what counts no more is deleted.
  static let savesBetweenDeletions = 600
  static let savePause = TimeAmount.seconds(1)

  /// How far the wall clock may run away from the core's before all is told anew, in milliseconds.
  private static let tolerance: Int64 = 60_000

  /// The wall clock's time at the beginning of the core's.
  private var origin: WallTime
  var task: RepeatedTask?
  var saves = 0

  init(at wall: WallTime, _ now: Instant) { origin = Self.origin(wall, now) }

  private static func origin(_ wall: WallTime, _ now: Instant) -> WallTime {
    WallTime(milliseconds: wall.milliseconds - now.nanoseconds / 1_000_000)
  }

  /// From the core's minutes to those of the wall clock. Rounded down, so that no minute seems to lie ahead; the same
  /// for as long as nobody sets the clock, so that each minute has one row.
  private var offset: Int64 { origin.minute }

  /// - Returns: whether the wall clock was set since the last call: then every minute has another row.
  mutating func follow(_ wall: WallTime, _ now: Instant) -> Bool {
    let origin = Self.origin(wall, now)
    guard abs(origin.milliseconds - self.origin.milliseconds) >= Self.tolerance else { return false }
    self.origin = origin
    return true
  }

  func entry(_ stored: StoredUsage) -> UsageLedger.Entry {
    UsageLedger.Entry(
      user: UserID(stored.user), minute: Int(clamping: stored.minute - offset), requests: stored.requests,
      tokens: stored.tokens)
  }

  func stored(_ entry: UsageLedger.Entry) -> StoredUsage {
    StoredUsage(
      user: entry.user.name, minute: Int64(entry.minute) + offset, requests: entry.requests, tokens: entry.tokens)
  }

  /// The rows that take the place of those of a time to come: what was used then was used by now.
  func settled(_ stored: [StoredUsage], at now: Instant) -> (rows: [StoredUsage], changed: [StoredUsage]) {
    let present = Int64(UsageLedger.minute(of: now)) + offset
    guard stored.contains(where: { $0.minute > present }) else { return (stored, []) }
    var rows = stored.filter { $0.minute < present }
    var byUser: [String: StoredUsage] = [:]
    for usage in stored where usage.minute >= present {
      byUser[usage.user, default: StoredUsage(user: usage.user, minute: present, requests: 0, tokens: 0)].add(usage)
    }
    let changed = byUser.values.sorted { $0.user < $1.user }
    rows += changed
    return (rows, changed)
  }
}

extension StoredUsage {
  fileprivate mutating func add(_ other: StoredUsage) {
    requests = max(requests, requests &+ other.requests)
    tokens = max(tokens, tokens &+ other.tokens)
  }
}

extension DispatcherShell {
  /// What was used before this dispatcher began counts on, and from now on what is used is kept.
  func takeUpUsage(_ stored: [StoredUsage]) {
    let (rows, changed) = usage.settled(stored, at: .now)
    restoreUsage(rows.map(usage.entry))
    if let first = changed.first {
      noteFailure(of: store.deleteUsage(from: first.minute + 1))
      noteFailure(of: store.set(changed))
    }
    let shell = NIOLoopBound(self, eventLoop: loop)
    usage.task = loop.scheduleRepeatedTask(
      initialDelay: UsageKeeping.savePause, delay: UsageKeeping.savePause
    ) { _ in shell.value.saveUsage() }
  }

  /// Writes down what was used since the last call.
  func saveUsage() {
    let changes = takeUsageChanges()
    if usage.follow(.now, .now) {
      noteFailure(of: store.replaceUsage(with: usageEntries.map(usage.stored)))
    } else if !changes.isEmpty {
      noteFailure(of: store.set(changes.map(usage.stored)))
    }
    usage.saves += 1
    if usage.saves % UsageKeeping.savesBetweenDeletions == 1 {
      noteFailure(of: store.deleteUsage(before: WallTime.now.minute - UsageKeeping.minutes))
    }
  }

  func noteFailure(of written: EventLoopFuture<Void>) {
    written.assumeIsolated().whenFailure { [self] error in tell(.storeFailed(problem: "\(error)")) }
  }
}
