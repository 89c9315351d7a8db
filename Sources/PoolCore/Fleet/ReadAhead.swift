/// Models whose files are read from the disk into memory (the page cache) ahead of the instances that will load them.
///
/// One reader at a time, which reads one model after the other: two that share a disk's bandwidth would both be there
/// as late as the second of them. For the same reason a model whose turn has not come is not to be loaded yet either.
package struct ReadAhead: Hashable, Sendable {
  /// What was read so lately is still in memory, in most cases.
  static let lifetime: Duration = .seconds(600)
  /// What could not be read is tried again after this: the store may not have been mounted yet.
  static let secondTry: Duration = .seconds(60)
  /// A reader that has said nothing for so long holds up no load any more: its disk, or its file server, hangs.
  static let patience: Duration = .seconds(10)
  /// From one look at what is to be read to the next, but for a start's: clients make names up.
  static let pause: Duration = .seconds(5)
  /// Of one reader; more would push one another out of memory.
  static let mostModels = 8

  /// What became of one model.
  package struct Outcome: Hashable, Sendable {
    /// By its normalised name.
    package var model: String
    /// Bytes of its files, and those of them that were not in memory before.
    package var size: Int
    package var read: Int
    package var duration: Duration
    /// Why it was not read, or not all of it; nil where it was.
    package var problem: String?

    package init(model: String, size: Int, read: Int, duration: Duration, problem: String? = nil) {
      self.model = model
      self.size = size
      self.read = read
      self.duration = duration
      self.problem = problem
    }
  }

  /// Still to be read, the first of them at present; nil where no reader is out.
  private var left: [String]?
  private var heardAt = Instant.zero
  private var lookedAt: Instant?
  /// When each is to be read again.
  private var dueAt: [String: Instant] = [:]
  /// The last of each model, by its name.
  package private(set) var outcomes: [String: Outcome] = [:]

  /// Whether it is time to look what is to be read; then the next time comes later.
  mutating func isTimeToLook(isStarting: Bool, at now: Instant) -> Bool {
    guard left == nil, isStarting || lookedAt.map({ now - $0 >= Self.pause }) ?? true else { return false }
    lookedAt = now
    return true
  }

  /// - Parameter models: by their normalised names, those that are needed first at the beginning.
  /// - Returns: what a reader is to be sent for now; empty where all were read lately.
  mutating func due(_ models: [String], at now: Instant) -> [String] {
    dueAt = dueAt.filter { $0.value > now }
    let due = Array(models.filter { dueAt[$0] == nil }.prefix(Self.mostModels))
    guard !due.isEmpty else { return [] }
    for model in due { dueAt[model] = now + Self.lifetime }
    left = due
    heardAt = now
    return due
  }

  /// - Parameters:
  ///   - outcome: nil for a sign of life.
  ///   - isKept: whether people are to see it: not of names that clients have made up.
  mutating func heard(_ outcome: Outcome?, isKept: Bool, at now: Instant) {
    heardAt = now
    guard let outcome, left?.contains(outcome.model) == true else { return }
    left?.removeAll { $0 == outcome.model }
    dueAt[outcome.model] = now + (isKept && outcome.problem != nil ? Self.secondTry : Self.lifetime)
    guard isKept else { return }
    // A look at what was in memory says nothing of the disk.
    if outcome.read > 0 || outcome.problem != nil || outcomes[outcome.model] == nil {
      outcomes[outcome.model] = outcome
    }
    if outcomes.count > Self.mostRemembered, let oldest = outcomes.keys.min(by: { due($0) < due($1) }) {
      outcomes[oldest] = nil
    }
  }

  private static let mostRemembered = 64

  private func due(_ model: String) -> Instant { dueAt[model] ?? .zero }

  mutating func ended() { left = nil }

  /// Those whose turn has not come: to load one now would be at the expense of the one that is being read.
  func awaitingTurn(at now: Instant) -> Set<String> {
    guard let left, now - heardAt < Self.patience else { return [] }
    return Set(left.dropFirst())
  }
}
