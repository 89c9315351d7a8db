package import NIOCore
import NIOHTTP1
package import OllamaAPI
package import PoolCore

/// Takes the answer to one request of the pool's own, on the gateway's loop, and whatever comes: nothing is held back for
/// it.
package protocol AnswerReader: AnyObject {
  /// An instance's answer begins, or one of the pool's own.
  func answerBegan(status: Int)
  /// The next piece of its body, without framing.
  func answerContinued(_ content: ByteBuffer)
  /// Comes exactly once, after the delegate was told.
  ///
  /// - Parameter error: what the pool itself ended it with.
  func answerEnded(_ outcome: ExchangeOutcome, _ error: PoolError?)
}

extension Gateway {
  /// A request that a part of the pool makes of an instance on behalf of somebody. It goes the way of a client's: the
  /// delegate has it as soon as it ``Exchange/arrive(as:)``, and ``Exchange/leave()`` ends it.
  ///
  /// - Parameters:
  ///   - body: JSON; the operator's rules for its model are applied to it.
  ///   - caller: on whose behalf, and where that one is; for the operator's lists.
  ///   - reader: held until the end.
  package func request(
    _ route: Route, body: ByteBuffer, onBehalfOf caller: Caller?, at peer: SocketAddress?, reader: any AnswerReader
  ) throws(PoolError) -> Exchange {
    guard body.readableBytes <= freeBytes else { throw RequestFault.memoryFull.error }
    // As a client of HTTP/1.0 the reader gets the content without framing.
    let head = HTTPRequestHead(
      version: .http1_0, method: HTTPMethod(rawValue: route.method), uri: route.pattern,
      headers: ["Content-Type": "application/json"])
    let plan = RequestPlan(
      route: route, target: route.pattern, corsHeaders: [], headBytes: 0, contentLength: body.readableBytes,
      isChunked: false, expectsContinue: false, keepsAlive: false)
    let exchange = Exchange(self, client: ReadingClient(reader), peer: peer, caller: caller, head: head, plan: plan)
    do {
      try exchange.takeWhole(body)
    } catch {
      exchange.end(.cancelled)
      throw error.error
    }
    return exchange
  }
}

/// Stands where a client's connection stands, for a reader within the pool.
private final class ReadingClient: ExchangeClient {
  private let reader: any AnswerReader

  init(_ reader: any AnswerReader) { self.reader = reader }

  var isWritable: Bool { true }
  var hasTakenAnswers: Bool { true }

  func sendHead(status: Int, _ head: ByteBuffer) { reader.answerBegan(status: status) }
  func send(_ bytes: ByteBuffer) { reader.answerContinued(bytes) }
  func flush() {}

  func sendWhole(
    status: Int, headers: [(name: String, value: String)], body: [UInt8], isHead: Bool, tail: AnswerTail
  ) {
    reader.answerBegan(status: status)
    reader.answerContinued(ByteBuffer(bytes: body))
  }

  /// The reader gets it with the end.
  func sendError(
    _ error: PoolError, dialect: Dialect, headers: [(name: String, value: String)], isHead: Bool, tail: AnswerTail
  ) {}

  func answerSent(keepsAlive: Bool) {}
  func closeOnceSent() {}
  func answerMayKeepAlive(_ exchange: Exchange) -> Bool { false }
  func askForBody() {}
  func pauseBody(isForInstance: Bool) {}
  func resumeBody() {}

  func exchangeEnded(_ exchange: Exchange, _ outcome: ExchangeOutcome) { reader.answerEnded(outcome, exchange.error) }
}
