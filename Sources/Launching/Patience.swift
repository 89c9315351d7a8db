import Dispatch
import PoolCore
import Synchronization

/// Waiting for what may never come back, such as a file server's or a driver's answer: it is asked on a thread of its
/// own, and whoever asked waits for a limited time.
///
/// Questions about the same are asked one after the other, and none while one of them hangs. So what hangs costs one
/// thread, however often it is asked, and no question about anything else.
package final class Patience: Sendable {
  /// For whoever asks for files that may be on a server, in this whole process.
  package static let files = Patience()

  /// More things hang at a time only where somebody tries one dead server's path after the other.
  private static let mostHanging = 8
  private static let mostWaiting = 64

  private let lines = Mutex<[String: Line]>([:])
  private let timers = DispatchQueue(label: "ollama-pool.patience.timers")

  package init() {}

  /// - Parameters:
  ///   - subject: what it is about, such as a path.
  ///   - limit: from when it is asked: what went before it took its own time.
  /// - Returns: nil where there is no answer in time; at once where an earlier question about the same hangs, or too
  ///   many about other things do. It is then never asked.
  package func answer<Value: Sendable>(
    about subject: String = "", within limit: Duration = .seconds(5), of question: @escaping @Sendable () -> Value
  ) async -> Value? {
    await withCheckedContinuation { continuation in
      let waiter = Waiter(continuation)
      add(
        Question(limit: limit, ask: { waiter.finish(question()) }, giveUp: { waiter.giveUp() }), about: subject)
    }
  }

  private func add(_ question: Question, about subject: String) {
    let (isFirst, isRefused) = lines.withLock { lines in
      guard let line = lines[subject] else {
        guard lines.values.count(where: \.isHanging) < Self.mostHanging else { return (false, true) }
        lines[subject] = Line(asked: question)
        return (true, false)
      }
      guard !line.isHanging, line.waiting.count < Self.mostWaiting else { return (false, true) }
      lines[subject]?.waiting.append(question)
      return (false, false)
    }
    if isRefused { question.giveUp()?() }
    guard isFirst else { return }
    // A queue has a thread of its own while something is on it.
    DispatchQueue(label: "ollama-pool.patience.thread").async { [self] in
      var asked: Question? = question
      while let question = asked {
        timers.asyncAfter(deadline: .now() + question.limit.seconds) { [self] in abandon(question, about: subject) }
        question.ask()
        asked = next(about: subject)
      }
    }
  }

  private func next(about subject: String) -> Question? {
    lines.withLock { lines in
      guard var line = lines[subject], !line.waiting.isEmpty else {
        lines[subject] = nil
        return nil
      }
      line.asked = line.waiting.removeFirst()
      lines[subject] = line
      return line.asked
    }
  }

  /// Gives up one that is asked for too long, and those that wait for its end.
  private func abandon(_ question: Question, about subject: String) {
    let given = lines.withLock { lines -> [@Sendable () -> Void] in
      // One that was answered at the last moment hangs no more.
      guard let line = lines[subject], line.asked === question, let end = question.giveUp() else { return [] }
      lines[subject]?.isHanging = true
      lines[subject]?.waiting = []
      return [end] + line.waiting.compactMap { $0.giveUp() }
    }
    for end in given { end() }
  }

  /// The questions about one thing, while one of them is being asked.
  private struct Line {
    var asked: Question
    var isHanging = false
    var waiting: [Question] = []
  }

  private final class Question: Sendable {
    let limit: Duration
    let ask: @Sendable () -> Void
    /// - Returns: what tells whoever asked; nil where there is an answer already.
    let giveUp: @Sendable () -> (@Sendable () -> Void)?

    init(
      limit: Duration, ask: @escaping @Sendable () -> Void, giveUp: @escaping @Sendable () -> (@Sendable () -> Void)?
    ) {
      self.limit = limit
      self.ask = ask
      self.giveUp = giveUp
    }
  }

  /// Takes the first of two answers.
  private final class Waiter<Value: Sendable>: Sendable {
    private let continuation: Mutex<CheckedContinuation<Value?, Never>?>

    init(_ continuation: CheckedContinuation<Value?, Never>) { self.continuation = Mutex(continuation) }

    func finish(_ value: Value) { continuation.withLock { $0.take() }?.resume(returning: value) }

    func giveUp() -> (@Sendable () -> Void)? {
      guard let continuation = continuation.withLock({ $0.take() }) else { return nil }
      return { continuation.resume(returning: nil) }
    }
  }
}
