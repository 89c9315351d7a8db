import Gateway
import PoolConfiguration
import PoolCore
import QueueStore

/// How a question ends.
extension Chat {
  enum Ending {
    case answered, stopped
    case refused(ChatError)
  }

  /// The pool is done with a question.
  func answered(_ question: Question, _ id: RequestID?, _ outcome: ExchangeOutcome, _ error: PoolError?) {
    if let id { asked[id] = nil }
    let answer = question.answer
    if answer.isTooLong {
      finish(question, .refused(.answerTooLong))
    } else if answer.wasStopped {
      finish(question, .stopped)
    } else if isStopping, question.wasTold, error != nil || question.phase == .suspended {
      leaveForNext(question)
    } else if let error {
      finish(question, .refused(ChatError(error, served: pool.servedModels)))
    } else if let words = answer.error {
      explain(words, status: answer.status, of: question.model ?? "") { [self] in finish(question, .refused($0)) }
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
    keep(question)
    switch ending {
    case .answered: question.tell(.done(at: now.iso8601, model: question.model ?? "", wasStopped: false))
    case .stopped: question.tell(.done(at: now.iso8601, model: question.model ?? "", wasStopped: true))
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
    let error = if case .refused(let error) = ending { error } else { ChatError.stopped }
    for viewer in dismiss(question) { viewer.refuse(error) }
  }

  /// The pool stops before its answer has ended: it stays written down, and the next dispatcher goes on with it.
  private func leaveForNext(_ question: Question) {
    for viewer in dismiss(question) { viewer.cut() }
  }

  /// - Returns: those who have not heard of it.
  private func dismiss(_ question: Question) -> [any Viewer] {
    defer { question.viewers = [] }
    question.phase = .ended
    // It may not have arrived yet.
    question.exchange = nil
    forget(question)
    return question.viewers
  }

  /// Keeps an ended question for those who come back. Of too many the first ones go, but for those that are being
  /// followed.
  private func keep(_ question: Question) {
    ended.append(question.id, bytes: question.log.bytes)
    while ended.isOverfull, let oldest = ended.oldest {
      if let question = questions[oldest], question.viewers.isEmpty { forget(question) }
      ended.dropOldest()
    }
  }

  func remember(_ question: Question) {
    questions[question.id] = question
    for key in question.idempotencyKeys { questionsByKey[key] = question }
  }

  func forget(_ question: Question) {
    questions[question.id] = nil
    for key in question.idempotencyKeys where questionsByKey[key] === question { questionsByKey[key] = nil }
  }
}
