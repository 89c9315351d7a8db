import Gateway
import NIOCore
import PoolConfiguration
import PoolCore
package import QueueStore

/// What waited or ran when the dispatcher ended.
extension Chat {
  /// The questions take their places again, in the order in which they are to be served: those that were being answered
  /// come first, and wait for their clients, as those do whose clients were away; those that waited go on, as long as
  /// their clients come back.
  package func restore(_ stored: [StoredRequest]) {
    nextPlace = (stored.map(\.place).max() ?? 0) + 1
    for request in stored {
      let life = request.attempts + 1
      var caller = pool.caller(UserID(request.user), className: request.className, keyID: request.keyID)
      caller.share.priority = request.priority.flatMap { Int($0) } ?? caller.share.priority
      let question = Question(
        self, id: request.id, session: request.session, caller: Shared(wrappedValue: caller),
        model: request.model,
        language: request.language.flatMap(ChatLanguage.init) ?? .italian, isResumable: request.isResumable,
        idempotencyKey: request.idempotencyKey,
        place: request.place, life: life)
      remember(question)
      question.wasTold = true
      note(store.setRequest(question.id, state: request.state, attempts: life))
      let exchange = exchange(for: question, peer: nil, bytes: request.message.utf8.count)
      let isSuspended = request.state != .waiting
      question.phase = isSuspended ? .suspended : .open
      question.deadline = pool.now + settings.resumeWithin
      // A part of the answer may have been told before.
      if isSuspended { question.tell(.restart) }
      pool.restore(exchange, isSuspended: isSuspended)
      asked[exchange.id] = question
    }
  }
}
