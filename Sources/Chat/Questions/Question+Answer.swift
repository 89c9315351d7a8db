import Gateway
import NIOCore
import OllamaAPI
import PoolCore

/// Takes the answer.
extension Question: AnswerReader {
  func requestBody(at address: SocketAddress, _ done: @escaping (Result<ByteBuffer, PoolError>) -> Void) {
    chat.makeBody(for: self, at: address, done)
  }

  func answerBegan(status: Int) { answer.status = status }

  func answerContinued(_ content: ByteBuffer) {
    // Taken out meanwhile: a line may be the last of this answer.
    var lines = answer.lines
    answer.lines = LineSplitter()
    content.withUnsafeReadableBytes { bytes in lines.split(bytes) { take(ChatLine($0)) } }
    answer.lines = lines
  }

  private func take(_ line: ChatLine) {
    if let error = line.error { answer.error = error }
    guard !line.content.isEmpty else { return }
    answer.text += line.content
    tell(.token(line.content))
    if log.isFull {
      answer.isTooLong = true
      chat.stop(self)
    }
  }

  /// Whoever saw a part of it hears so, once it is answered anew.
  func answerVoided() {
    if !answer.text.isEmpty {
      voidedText = answer.text
      tell(.restart)
    }
    answer = Answer()
  }

  func answerEnded(_ outcome: ExchangeOutcome, _ error: PoolError?) {
    var lines = answer.lines
    lines.finish { take(ChatLine($0)) }
    let id = exchange?.id
    exchange = nil
    stopSearch()
    chat.answered(self, id, outcome, error)
  }
}
