/// What earlier starts and lives in a placement have shown.
package struct PlacementHistory: Hashable, Sendable {
  package var restarts = Restarts()
  /// The last specification, with as much of it as was certain at any time.
  private var knownSpecification: String
  /// What the last failure was made with.
  var failedSpecification: String?
  /// The most bytes of GPU memory that models took in the last life that loaded any, with the present specification;
  /// nil where none did yet.
  package internal(set) var lastLoad: Int?
  /// Of the starts with the present specification.
  package internal(set) var startTimes = StartTimes()
  /// Since the last start.
  var obstacles = ToldObstacles()

  init(specification: String) { knownSpecification = specification }

  /// Takes what is known of the specification now. What was learnt with another one holds no more.
  /// - Returns: whether it is another one, and not the same that is known better or worse.
  mutating func learn(_ specification: String) -> Bool {
    if failedSpecification.map({ !Self.mayBeOne($0, specification) }) == true { restarts.reset() }
    if knownSpecification.hasPrefix(specification) { return false }
    let isOther = !specification.hasPrefix(knownSpecification)
    if isOther {
      restarts.reset()
      lastLoad = nil
      startTimes = StartTimes()
    }
    defer { knownSpecification = specification }
    return isOther || knownSpecification.isEmpty
  }

  /// Whether the last start or life failed, and that with this specification.
  func hasFailed(with specification: String) -> Bool {
    restarts.failures > 0 && failedSpecification.map { Self.mayBeOne($0, specification) } == true
  }

  /// Of two digests that may both be known in part, whether they contradict each other in nothing.
  private static func mayBeOne(_ one: String, _ other: String) -> Bool { one.hasPrefix(other) || other.hasPrefix(one) }
}

/// What was told of the obstacles that hold a start back.
struct ToldObstacles: Hashable, Sendable {
  /// Where obstacles alternate, the same is not told again within this time.
  private static let window: Duration = .seconds(60)

  private var last: StartObstacle.Kind?
  private var toldAt: [StartObstacle.Kind: Instant] = [:]

  /// Whether one that holds the start back now is to be told: once until it is another one.
  mutating func isNews(_ kind: StartObstacle.Kind, at now: Instant) -> Bool {
    if last == kind { return false }
    last = kind
    if let told = toldAt[kind], now - told < Self.window { return false }
    toldAt[kind] = now
    return true
  }
}
