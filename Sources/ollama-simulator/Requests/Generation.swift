import Glibc
import NIOCore

/// An answer being made up, token by token, at the speed that is left for it. Belongs to the event loop.
final class Generation {
  /// How often a fault that stops answers is looked at again.
  private static let stallPause = TimeAmount.milliseconds(100)
  /// Tokens at a time where the speed has no limit, so that other connections get their turn.
  private static let burst = 64

  /// Which holds this in turn, until it is finished.
  private let work: Work
  private let host: LoadedModel
  private let words: Words
  private let call: ToolCall?
  private let wanted: Int
  private let arrivedAt: NIODeadline
  private let startedAt = NIODeadline.now()
  private let loadNanoseconds: Int
  private var firstTokenAt = NIODeadline.now()
  private var format: any AnswerFormat
  private var made = 0
  private var text = ""
  private var due = NIODeadline.now()
  private var timer: Scheduled<Void>?
  private var isOver = false

  init(_ work: Work, _ host: LoadedModel, loadNanoseconds: Int, arrivedAt: NIODeadline) {
    self.work = work
    self.host = host
    self.loadNanoseconds = loadNanoseconds
    self.arrivedAt = arrivedAt
    format = work.format
    let behaviour = work.server.settings.behaviour
    let words = Words(seed: work.request.seed ?? behaviour.seed, prompt: work.request.prompt)
    self.words = words
    call = work.request.toolToCall.map { ToolCall($0, id: "call_\(words.identifier)") }
    wanted = call == nil ? work.request.tokenLimit ?? behaviour.tokens : 1
  }

  func start() {
    let seconds = work.server.settings.behaviour.secondsToFirstToken(promptTokens: work.request.promptTokens)
    due = .now() + .nanoseconds(Int64(seconds * 1e9))
    schedule()
  }

  /// The client has gone.
  func stop() {
    isOver = true
    timer?.cancel()
  }

  /// The runner has died.
  func fail(_ refusal: Refusal) {
    stop()
    if !work.exchange.hasBegun {
      work.exchange.fail(refusal)
    } else {
      // Ollama's own streams say so; the others just end.
      work.exchange.write(format.failure(refusal))
      work.exchange.end()
    }
  }

  private func schedule() {
    timer = work.server.eventLoop.scheduleTask(deadline: due) { [weak self] in self?.tick() }
  }

  private func tick() {
    guard !isOver else { return }
    guard work.exchange.isWritable else {
      work.exchange.whenWritable { [weak self] in self?.tick() }
      return
    }
    let behaviour = work.server.settings.behaviour
    for _ in 0..<(behaviour.tokensPerSecond > 0 ? 1 : Self.burst) {
      guard !stumbles() else { return }
      if made == wanted { return complete() }
      makeToken()
      // A write can find that the client has gone, and end all this.
      guard !isOver else { return }
    }
    // A server that falls behind does not catch up in a burst.
    let seconds = behaviour.secondsPerToken(active: work.server.scheduler.activeCount)
    due = max(due, .now() - .milliseconds(20)) + .nanoseconds(Int64(seconds * 1e9))
    if made == wanted { due = .now() }
    schedule()
  }

  /// Whether a fault strikes before the next token.
  private func stumbles() -> Bool {
    if work.server.scheduler.isOnLostGPU(host) {
      Log.error("CUDA error: the GPU is lost", source: "ggml-cuda.cu")
      host.crash()
      return true
    }
    let faults = work.server.faults.current
    guard !faults.isEmpty else { return false }
    if let count = faults.crashToken, made + 1 >= count {
      Log.error("told to crash", source: "faults")
      kill(getpid(), SIGKILL)
    }
    if let count = faults.runnerCrashToken, made + 1 >= count {
      // Its death will be reported to this answer too.
      host.crash()
      return true
    }
    if let count = faults.stallToken, made >= count {
      timer = work.server.eventLoop.scheduleTask(in: Self.stallPause) { [weak self] in self?.tick() }
      return true
    }
    return false
  }

  private func makeToken() {
    if made == 0 { firstTokenAt = .now() }
    let word = words.word(made)
    made += 1
    guard work.request.streams else {
      if call == nil { text += word }
      return
    }
    work.exchange.begin(contentType: format.contentType)
    work.exchange.write(call.map { format.toolCall($0) } ?? format.token(word))
  }

  private func complete() {
    isOver = true
    let summary = Summary(
      reason: call == nil && work.request.tokenLimit != nil ? "length" : "stop",
      promptTokens: work.request.promptTokens, tokens: made, nanoseconds: Self.nanoseconds(since: arrivedAt),
      loadNanoseconds: loadNanoseconds, promptNanoseconds: Int((firstTokenAt - startedAt).nanoseconds),
      tokenNanoseconds: Self.nanoseconds(since: firstTokenAt))
    if work.request.streams {
      work.exchange.begin(contentType: format.contentType)
      work.exchange.write(format.end(summary))
      work.exchange.end()
    } else {
      work.exchange.answer(
        status: 200, contentType: "application/json; charset=utf-8",
        format.whole(text, calls: call.map { [$0] } ?? [], summary))
    }
    work.finish()
  }

  private static func nanoseconds(since start: NIODeadline) -> Int { Int((NIODeadline.now() - start).nanoseconds) }
}
