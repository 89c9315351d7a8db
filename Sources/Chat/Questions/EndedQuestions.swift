import DequeModule

/// Which questions have ended and are kept for those who come back, the latest last; within bounds.
struct EndedQuestions {
  private static let most = 10_000
  private static let mostBytes = 64 << 20

  private var line: Deque<(id: String, bytes: Int)> = []
  private var bytes = 0

  /// The id of the one that ended first.
  var oldest: String? { line.first?.id }
  /// Whether the oldest has to go.
  var isOverfull: Bool { line.count > Self.most || bytes > Self.mostBytes }

  /// - Parameter bytes: of its events.
  mutating func append(_ id: String, bytes: Int) {
    line.append((id, bytes))
    self.bytes += bytes
  }

  mutating func dropOldest() {
    if let oldest = line.popFirst() { bytes -= oldest.bytes }
  }
}
