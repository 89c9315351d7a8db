import Credentials
import Gateway
import NIOCore
import PoolConfiguration
import PoolCore
import QueueStore

/// What is recorded of requests that ended, for replays: nothing of what was said, and of users only who is the same.
struct HistoryKeeping {
  static let savePause = TimeAmount.seconds(1)
  /// Of `savePause`, after which what is beyond the limits is deleted.
  static let savesBetweenPrunings = 600
  /// More come together only while the disk hangs: the next ones are not recorded, so that memory stays bounded.
  static let most = 20_000

  var history: RequestHistory?
  /// By which users' names become numbers.
  var secret: CookieSecret?
  var limits = RequestHistory.Limits()
  private(set) var pending: [PastRequest] = []
  /// Requests that were to be recorded and are not, since this dispatcher began.
  var lost = 0
  /// Of these, those that nobody was told of yet.
  private var untold = 0
  var task: RepeatedTask?
  var saves = 0
  /// What was given to the file last is not written yet.
  var isSaving = false

  mutating func keep(_ request: PastRequest) {
    guard pending.count < Self.most else {
      lost += 1
      untold += 1
      return
    }
    pending.append(request)
  }

  mutating func takePending() -> [PastRequest] {
    defer { pending.removeAll() }
    return pending
  }

  /// Of which people are to be told now; nil for nothing.
  mutating func takeLoss() -> String? {
    guard untold > 0 else { return nil }
    defer { untold = 0 }
    return "the history, for replays, lacks \(untold) requests that ended while the disk hung"
  }
}

extension DispatcherShell {
  /// From now on what ends is recorded.
  func keepHistory(in history: RequestHistory, secret: CookieSecret) {
    (self.history.history, self.history.secret) = (history, secret)
    let shell = NIOLoopBound(self, eventLoop: loop)
    self.history.task = loop.scheduleRepeatedTask(
      initialDelay: HistoryKeeping.savePause, delay: HistoryKeeping.savePause
    ) { _ in shell.value.saveHistory() }
  }

  func record(_ ended: Carried, _ outcome: RequestOutcome) {
    guard ended.needsSlot, history.history != nil, history.limits.requests > 0 else { return }
    let (now, exchange, caller) = (Instant.now, ended.exchange, ended.exchange.caller)
    history.keep(
      PastRequest(
        arrivedAt: .now - (now - ended.arrivedAt), className: caller?.className ?? "",
        priority: caller?.share.priority ?? 0, model: modelKey(of: exchange),
        user: caller.flatMap { history.secret?.pseudonym(of: $0.user.name) } ?? 0,
        inputTokens: exchange.questionTokens,
        outputTokens: exchange.answerTokens, wait: ended.waited.map(\.wholeMilliseconds),
        service: ended.sentAt.map { (now - $0).wholeMilliseconds },
        outcome: PastRequest.Outcome(outcome, wasSent: ended.sentAt != nil)))
  }

  /// Writes down what has ended since the last call.
  func saveHistory() {
    guard let file = history.history, !history.isSaving else { return }
    if let loss = history.takeLoss() { tell(.storeFailed(problem: loss)) }
    let ended = history.takePending()
    if !ended.isEmpty {
      let written = file.add(ended)
      history.isSaving = true
      written.assumeIsolated().whenComplete { [self] result in
        history.isSaving = false
        guard case .failure(let error) = result else { return }
        history.lost += ended.count
        tell(.storeFailed(problem: "\(error)"))
      }
    }
    history.saves += 1
    if history.saves % HistoryKeeping.savesBetweenPrunings == 1 {
      noteFailure(of: file.prune(history.limits, at: .now))
    }
  }

  /// Writes down what is left, and records no more.
  func closeHistory() -> EventLoopFuture<Void> {
    // The last ones, behind what is being written.
    history.isSaving = false
    saveHistory()
    history.task?.cancel()
    let closed = history.history?.close() ?? loop.makeSucceededVoidFuture()
    history.history = nil
    // What it could not write has been told of; a pool ends all the same.
    return closed.recover { _ in }
  }
}

extension PastRequest.Outcome {
  fileprivate init(_ outcome: RequestOutcome, wasSent: Bool) {
    switch outcome {
    case .served: self = .served
    case .cancelled: self = .cancelled
    case .expired: self = .expired
    case .failed: self = wasSent ? .failed : .refused
    }
  }
}

extension Duration {
  fileprivate var wholeMilliseconds: Int { Int((seconds * 1_000).rounded()) }
}

extension HistorySettings {
  var limits: RequestHistory.Limits { RequestHistory.Limits(age: age, requests: requests) }
}
