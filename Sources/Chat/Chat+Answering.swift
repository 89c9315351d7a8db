import Gateway
import NIOCore
import OllamaAPI
import PoolConfiguration
import PoolCore
import QueueStore

/// What the model is told.
extension Chat {
  /// What of a history the model is told again, in bytes: more than most contexts hold.
  private static let historyBytes = 384 << 10

  /// An instance has a slot for a question.
  func makeBody(
    for question: Question, at address: SocketAddress, _ done: @escaping (Result<ByteBuffer, PoolError>) -> Void
  ) {
    question.turnCame()
    note(store.setRequest(question.id, state: .running, attempts: question.life))
    settleModel(of: question) { [self] settled in
      switch settled {
      case .success: readWhatIsTold(question, at: address, done)
      case .failure(let error): done(.failure(error.told(in: question.language)))
      }
    }
  }

  private func readWhatIsTold(
    _ question: Question, at address: SocketAddress, _ done: @escaping (Result<ByteBuffer, PoolError>) -> Void
  ) {
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
    // Each question with its own answer, whatever was asked and answered in between. One without the other would only
    // confuse.
    let answers = Dictionary(
      history.filter { $0.role == .assistant }.compactMap { message in message.requestID.map { ($0, message.content) } }
    ) { first, _ in first }
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
    for message in history where message.role == .user {
      guard let answer = message.requestID.flatMap({ answers[$0] }) else { continue }
      write("user", message.content)
      write("assistant", answer)
    }
    if let found = question.found, !found.isEmpty { write("system", SourcePrompt.text(found)) }
    write("user", asked)
    json.raw("]}")
    return ByteBuffer(bytes: json.bytes)
  }
}
