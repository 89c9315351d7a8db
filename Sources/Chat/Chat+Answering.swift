import Gateway
import NIOCore
import OllamaAPI
import PoolConfiguration
import PoolCore
import QueueStore

/// What the model is told, and how a question ends.
extension Chat {
  /// What of a history the model is told again, in bytes: more than most contexts hold.
  private static let historyBytes = 256 << 10

  /// An instance has a slot for a question.
  func makeBody(
    for question: Question, at address: SocketAddress, _ done: @escaping (Result<ByteBuffer, PoolError>) -> Void
  ) {
    question.turnCame()
    note(store.setRequest(question.id, state: .running, attempts: question.life))
    let history = store.history(of: question.session, last: settings.historyMessages, bytes: Self.historyBytes)
    // From where no limit of the history, and nobody who forgets it, takes it away.
    store.message(ofRequest: question.id).and(history).assumeIsolated().whenComplete { [self] read in
      switch read {
      case .success((let message, let history)):
        findSources(for: question, message, at: address) { done(.success(self.body(of: question, message, history))) }
      case .failure(let error):
        pool.storeFailed("\(error)")
        done(.failure(ChatError.storeFailed.told(in: question.language)))
      }
    }
  }

  private func body(of question: Question, _ asked: String, _ history: [StoredMessage]) -> ByteBuffer {
    // What was asked and never answered would only confuse.
    let answered = Set(history.filter { $0.role == .assistant }.compactMap(\.requestID))
    var json = JSONWriter()
    json.raw("{\"model\":")
    json.string(question.model)
    json.raw(",\"stream\":true,\"messages\":[")
    var isFirst = true
    func write(_ role: StaticString, _ content: String) {
      json.raw(isFirst ? "{\"role\":\"" : ",{\"role\":\"")
      isFirst = false
      json.raw(role)
      json.raw("\",\"content\":")
      json.string(content)
      json.raw("}")
    }
    if let instructions = settings.instructions { write("system", instructions) }
    for message in history where message.requestID.map(answered.contains) ?? true {
      write(message.role == .user ? "user" : "assistant", message.content)
    }
    if let found = question.found, !found.isEmpty { write("system", SourcePrompt.text(found)) }
    write("user", asked)
    json.raw("]}")
    return ByteBuffer(bytes: json.bytes)
  }

  // MARK: The end

  enum Ending {
    case answered, stopped
    case refused(ChatError)
  }

  /// The pool is done with a question.
  func answered(_ question: Question, _ id: RequestID?, _ outcome: ExchangeOutcome, _ error: PoolError?) {
    if let id {
      pool.unwatchPlace(of: id)
      names[id] = nil
    }
    let answer = question.answer
    if answer.isTooLong {
      finish(question, .refused(.answerTooLong))
    } else if answer.wasStopped {
      finish(question, .stopped)
    } else if isStopping, error != nil, question.wasTold {
      leaveForNext(question)
    } else if let error {
      finish(question, .refused(ChatError(error, served: pool.servedModels)))
    } else if let words = answer.error {
      explain(words, status: answer.status, of: question.model) { [self] in finish(question, .refused($0)) }
    } else if outcome == .served, answer.status == 200 {
      finish(question, .answered)
    } else {
      finish(question, .refused(ChatError(outcome == .failed(.truncated) ? .truncated : .instanceLost)))
    }
  }

  /// The one place where a question ends.
  func finish(_ question: Question, _ ending: Ending) {
    guard !question.hasEnded else { return }
    guard question.wasTold else { return refuse(question, ending) }
    question.phase = .ended
    question.deadline = pool.now + settings.resumeWithin
    let now = WallTime.now
    let text = question.answer.text.isEmpty ? question.voidedText : question.answer.text
    if !text.isEmpty {
      note(
        store.append(
          StoredMessage(
            session: question.session, role: .assistant, content: text, model: question.model, requestID: question.id,
            sources: AnswerSource.text(of: question.answer.sources), at: now)))
    }
    note(store.deleteRequest(question.id))
    remember(question)
    switch ending {
    case .answered: question.tell(.done(at: now.iso8601, model: question.model, wasStopped: false))
    case .stopped: question.tell(.done(at: now.iso8601, model: question.model, wasStopped: true))
    case .refused(let error): question.tell(.failed(error))
    }
  }

  /// Before anybody was told that it was taken, it is as if it had never been.
  private func refuse(_ question: Question, _ ending: Ending) {
    if question.phase != .asked {
      note(store.withdrawRequest(question.id, of: question.session))
      if question.beginsSession {
        sessions.remove(question.session)
        note(store.deleteSession(question.session))
      }
    }
    question.phase = .ended
    question.exchange = nil
    let viewers = question.viewers
    question.viewers = []
    forget(question)
    let error = if case .refused(let error) = ending { error } else { ChatError.stopped }
    for viewer in viewers { viewer.refuse(error) }
  }

  /// The pool stops before its answer has ended: it stays written down, and the next dispatcher goes on with it.
  private func leaveForNext(_ question: Question) {
    question.phase = .ended
    let viewers = question.viewers
    question.viewers = []
    forget(question)
    for viewer in viewers { viewer.cut() }
  }

  /// Keeps an ended question for those who come back. Of too many the first ones go, but for those that are being
  /// followed.
  private func remember(_ question: Question) {
    ended.append(EndedQuestion(id: question.id, bytes: question.log.bytes))
    endedBytes += question.log.bytes
    while ended.count > Self.mostEnded || endedBytes > Self.mostEndedBytes, let oldest = ended.first {
      if let question = questions[oldest.id], question.viewers.isEmpty { forget(question) }
      dropOldestEnded()
    }
  }

  func dropOldestEnded() {
    if let oldest = ended.popFirst() { endedBytes -= oldest.bytes }
  }

  func forget(_ question: Question) { questions[question.id] = nil }

  /// What was to be written down and could not be is told; the chat goes on.
  func note(_ written: EventLoopFuture<Void>) {
    written.assumeIsolated().whenFailure { [self] error in pool.storeFailed("\(error)") }
  }
}
