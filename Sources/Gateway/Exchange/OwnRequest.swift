package import NIOCore
import NIOHTTP1
import OllamaAPI
package import PoolCore

/// A part of the pool that has a question of its own for an instance, and takes the answer, on the gateway's loop. It
/// takes whatever comes: nothing is held back for it.
package protocol AnswerReader: AnyObject {
  /// The instance at `address` has a slot for the request now: its body, in JSON, or why there is none. It need not
  /// come at once. Asked for again for every attempt.
  func requestBody(at address: SocketAddress, _ done: @escaping (Result<ByteBuffer, PoolError>) -> Void)
  /// An instance's answer begins, or one of the pool's own.
  func answerBegan(status: Int)
  /// The next piece of its body, without framing.
  func answerContinued(_ content: ByteBuffer)
  /// What came of the answer is void: it will begin anew.
  func answerVoided()
  /// Comes exactly once, after the delegate was told.
  ///
  /// - Parameter error: what the pool itself ended it with.
  func answerEnded(_ outcome: ExchangeOutcome, _ error: PoolError?)
}

/// What requests of the pool's own ask an instance for; many share it.
package struct OwnRoute: Sendable {
  let head: HTTPRequestHead
  let plan: RequestPlan

  /// One of Ollama's routes.
  package init(_ method: String, _ path: String) {
    guard case .route(let route) = RouteTable.ollama.resolve(method: method, path: path) else {
      preconditionFailure("Ollama has no \(method) \(path)")
    }
    // As a client of HTTP/1.0 the reader gets the content without framing.
    head = HTTPRequestHead(
      version: .http1_0, method: HTTPMethod(rawValue: route.method), uri: route.pattern,
      headers: route.body == .none ? [:] : ["Content-Type": "application/json"])
    plan = RequestPlan(route: route, target: route.pattern, isOnLoopback: true)
  }
}

/// What is known of a request of the pool's own before its body is there.
package struct OwnRequest {
  package var route: OwnRoute
  /// As somebody wrote it.
  package var model: String?
  package var streams: Bool
  /// About as long as the body will be, in bytes.
  package var bodyBytes: Int
  /// On whose behalf, and where that one is.
  package var caller: Shared<Caller>?
  package var peer: SocketAddress?

  package init(
    route: OwnRoute, model: String?, streams: Bool, bodyBytes: Int = 0, caller: Shared<Caller>? = nil,
    peer: SocketAddress? = nil
  ) {
    self.route = route
    self.model = model
    self.streams = streams
    self.bodyBytes = bodyBytes
    self.caller = caller
    self.peer = peer
  }
}

extension Gateway {
  /// A request of a part of the pool. It goes the way of a client's: the delegate has it as soon as it
  /// ``Exchange/arrive()``, and ``Exchange/leave()`` ends it. Unlike a client's it can be withdrawn in the middle of
  /// its answer, and be served anew.
  ///
  /// - Parameter reader: held until the end.
  package func request(_ request: OwnRequest, reader: any AnswerReader) -> Exchange {
    let exchange = Exchange(
      self, client: ReadingClient(reader), peer: request.peer, caller: request.caller, head: request.route.head,
      plan: request.route.plan)
    exchange.model = request.model
    exchange.wantsStream = request.streams
    exchange.bodyBytes = request.bodyBytes
    exchange.estimatedQuestionTokens = request.bodyBytes / 4
    if let model = request.model, exchange.route.readsOptions {
      exchange.$options = limits.modelRules[model].granted(RunnerOptions()).shared
    }
    return exchange
  }
}

extension Gateway {
  /// Sends an instance what is a part of a request that has a slot of it now, over a connection of its own.
  ///
  /// - Parameters:
  ///   - body: in JSON; gets the options that are settled for the model.
  ///   - bodyLimit: what the answer's body may take, in bytes.
  package func sendAside(
    _ path: String, body: [UInt8], model: String, to address: SocketAddress, within time: TimeAmount, bodyLimit: Int
  ) -> UpstreamRequest {
    var body = body
    for edit in BodyEdit.edits(body, for: limits.modelRules[model]).reversed() {
      body.replaceSubrange(edit.range, with: edit.replacement)
    }
    return UpstreamRequest.send("POST", path, body: body, to: address, within: time, bodyLimit: bodyLimit, on: loop)
  }
}

/// Stands where a client's connection stands, for a reader within the pool.
private final class ReadingClient: ExchangeClient {
  private let reader: any AnswerReader

  init(_ reader: any AnswerReader) { self.reader = reader }

  var isWritable: Bool { true }
  var hasTakenAnswers: Bool { true }

  var bodySource: (any AnswerReader)? { reader }
  func startOver() -> Bool {
    reader.answerVoided()
    return true
  }

  func sendHead(status: Int, _ head: ByteBuffer) { reader.answerBegan(status: status) }
  func send(_ bytes: ByteBuffer) { reader.answerContinued(bytes) }
  func flush() {}
  func sendNow(_ bytes: ByteBuffer) { send(bytes) }

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

  func exchangeEnded(_ exchange: Exchange, _ outcome: ExchangeOutcome) {
    reader.answerEnded(outcome, exchange.error?.wrappedValue)
  }
}
