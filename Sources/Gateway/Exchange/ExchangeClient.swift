import NIOCore
import OllamaAPI

/// The one to whom an exchange's answer goes: a connection of the network, or a part of the pool.
protocol ExchangeClient: AnyObject {
  /// Whether it takes more without anything piling up.
  var isWritable: Bool { get }
  /// Whether no more of the answers waits for it than it takes by itself.
  var hasTakenAnswers: Bool { get }

  /// The body of a request that is made only when an instance has a slot for it; nil where it is there already.
  var bodySource: (any AnswerReader)? { get }
  /// Whether what came of the answer can be taken back; if so, it has been.
  func startOver() -> Bool

  /// The head of an instance's answer. Nothing goes out before ``flush()``.
  func sendHead(status: Int, _ head: ByteBuffer)
  /// A piece of the answer's body, framed as its head says.
  func send(_ bytes: ByteBuffer)
  func flush()
  /// Both.
  func sendNow(_ bytes: ByteBuffer)
  /// A whole answer of the pool's own.
  func sendWhole(
    status: Int, headers: [(name: String, value: String)], body: [UInt8], isHead: Bool, tail: AnswerTail)
  /// An error of the pool's own, before any other answer.
  func sendError(
    _ error: PoolError, dialect: Dialect, headers: [(name: String, value: String)], isHead: Bool, tail: AnswerTail)
  /// The answer is complete.
  func answerSent(keepsAlive: Bool)
  /// The answer stays incomplete.
  func closeOnceSent()

  /// Whether another request may follow the answer that begins now.
  func answerMayKeepAlive(_ exchange: Exchange) -> Bool
  func askForBody()
  /// - Parameter isForInstance: whether there is an instance that has to take the body; else the request waits for one.
  func pauseBody(isForInstance: Bool)
  func resumeBody()

  /// The exchange is over, and so is its answer.
  func exchangeEnded(_ exchange: Exchange, _ outcome: ExchangeOutcome)
}
