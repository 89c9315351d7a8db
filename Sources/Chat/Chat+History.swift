import Gateway
import NIOCore
import OllamaAPI
import OrderedCollections
import PoolConfiguration
import PoolCore
import QueueStore

/// What was said in a session.
extension Chat {
  /// What one answer shows of it, in bytes.
  private static let shownBytes = 4 << 20

  func answerHistory(_ exchange: Exchange, _ asker: Asker) {
    guard let session = asker.session else { return answer(exchange, [], open: []) }
    awaitedHistories[session, default: []].append(exchange)
    if !isReadingHistory { readHistory() }
  }

  /// One at a time, of each session in its turn. They are read faster than they become answers, and would fill the
  /// memory; and nobody waits for what somebody else asks for many times.
  private func readHistory() {
    isReadingHistory = false
    while let (session, asking) = awaitedHistories.elements.first {
      awaitedHistories.removeFirst()
      var waiting = asking[...].drop { !$0.isOpen }
      guard let exchange = waiting.popFirst() else { continue }
      if !waiting.isEmpty { awaitedHistories[session] = Array(waiting) }
      isReadingHistory = true
      return readHistory(of: session, for: exchange)
    }
  }

  private func readHistory(of session: String, for exchange: Exchange) {
    let history = store.history(of: session, last: settings.historyMessages, bytes: Self.shownBytes)
    once(history, exchange) { [self] messages in
      let open = questions.values.filter { $0.session == session && !$0.hasEnded }.sorted { $0.place < $1.place }
      answer(exchange, messages, open: open)
    }
    // Not at once: whatever else there is to do has its turn in between.
    history.assumeIsolated().whenComplete { [self] _ in loop.assumeIsolated().execute(readHistory) }
  }

  private func answer(_ exchange: Exchange, _ messages: [StoredMessage], open: [Question]) {
    var json = JSONWriter()
    json.raw("{\"messages\":[")
    for (index, message) in messages.enumerated() {
      json.raw(index > 0 ? ",{\"role\":" : "{\"role\":")
      json.string(message.role == .user ? "user" : "assistant")
      json.raw(",\"content\":")
      json.string(message.content)
      json.raw(",\"timestamp\":")
      json.string(message.at.iso8601)
      if let model = message.model {
        json.raw(",\"model\":")
        json.string(model)
      }
      if let request = message.requestID {
        json.raw(",\"request_id\":")
        json.string(request)
      }
      if let key = message.idempotencyKey {
        json.raw(",\"idempotency_key\":")
        json.string(key)
      }
      if let sources = message.sources {
        json.raw(",\"sources\":")
        json.text(sources)
      }
      json.raw("}")
    }
    json.raw("],\"open\":[")
    let asked = Dictionary(
      messages.filter { $0.role == .user }.compactMap { message in message.requestID.map { ($0, message.content) } }
    ) { first, _ in first }
    for (index, question) in open.enumerated() {
      json.raw(index > 0 ? ",{\"request_id\":" : "{\"request_id\":")
      json.string(question.id)
      json.raw(",\"message\":")
      json.string(asked[question.id])
      json.raw("}")
    }
    json.raw("]}")
    exchange.respond(status: 200, headers: Self.jsonHeaders, body: json.bytes)
  }

  func forgetHistory(_ exchange: Exchange, _ asker: Asker) {
    func done() { exchange.respond(status: 204, headers: [("Cache-Control", "no-store")], body: []) }
    guard let session = asker.session else { return done() }
    once(store.deleteHistory(of: session), exchange, done)
  }
}

extension AnswerSource {
  /// As it is stored; nil for none.
  static func text(of sources: [AnswerSource]) -> String? {
    guard !sources.isEmpty else { return nil }
    var json = JSONWriter()
    write(sources, &json)
    return String(decoding: json.bytes, as: UTF8.self)
  }
}
