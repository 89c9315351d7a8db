import NIOCore
import NIOHTTP1
import OllamaAPI

/// Writing answers.
///
/// What the client doesn't take stays in memory, so it must stay small. The channel counts bytes, but each small piece
/// of a stream keeps alive the whole buffer it was received into. So the channel is given little; what comes beyond
/// that, until the instance is no longer read, is copied into one backlog.
extension ClientConnection {
  /// The channel's marks, in bytes: above `high` nothing more is written to it until it is down to `low`.
  static let highWaterMark = 4 << 10
  static let lowWaterMark = 1 << 10

  var hasTakenAnswers: Bool { isWritable && backlog.readableBytes == 0 }

  func sendHead(status: Int, _ head: ByteBuffer) { send(head) }

  /// Writes without flushing.
  func send(_ bytes: ByteBuffer) {
    guard hasTakenAnswers else {
      backlog.writeImmutableBuffer(bytes)
      return
    }
    context?.write(wrapOutboundOut(bytes), promise: nil)
    if !isWritable { flush() }
  }

  func flush() { context?.flush() }

  func sendNow(_ bytes: ByteBuffer) {
    guard hasTakenAnswers else { return send(bytes) }
    context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
  }

  func writabilityChanged() {
    guard isWritable else {
      if closesOnceSent || currentlyAnswers { expect(.takingAnswer) }
      return
    }
    if backlog.readableBytes > 0 {
      let bytes = backlog
      backlog = ByteBuffer()
      context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
      guard hasTakenAnswers else { return }
    }
    if closesOnceSent { closeOutput() } else { caughtUp() }
  }

  private var currentlyAnswers: Bool {
    switch intake {
    case .body, .answering: true
    case .head, .rest, .deaf: false
    }
  }

  func sendWhole(
    status: Int, headers: [(name: String, value: String)], body: [UInt8], isHead: Bool, tail: AnswerTail
  ) {
    var buffer = ByteBufferAllocator().buffer(capacity: 512)
    HTTPText.answerHead(
      status: status, headers: headers, end: status == 204 ? .none : .length(body.count), tail: tail, into: &buffer)
    if !isHead { buffer.writeBytes(body) }
    send(buffer)
    answerSent(keepsAlive: tail.keepsAlive)
  }

  func sendError(
    _ error: PoolError, dialect: Dialect, headers: [(name: String, value: String)], isHead: Bool, tail: AnswerTail
  ) {
    var headers = headers
    headers.append(("Content-Type", ErrorBody.contentType))
    // RFC 9110, 15.5.2.
    if error.status == 401 { headers.append(("WWW-Authenticate", "Bearer realm=\"ollama-pool\"")) }
    if let seconds = error.retryAfterSeconds { headers.append(("Retry-After", String(seconds))) }
    let body = ErrorBody.make(
      dialect, status: error.status, message: error.message, code: error.code,
      requestID: tail.requestID.map { String($0) })
    sendWhole(status: error.status, headers: headers, body: body, isHead: isHead, tail: tail)
  }

  /// Answers a request that is no exchange, or none any more; nothing more is read.
  func refuse(_ fault: RequestFault) {
    turnDeaf()
    gateway.delegate.gatewayRefused(fault.refusal, from: peerAddress)
    sendError(
      fault.error, dialect: fault.dialect, headers: fault.headers, isHead: false, tail: AnswerTail(keepsAlive: false))
  }

  /// The answer to the current request is complete.
  func answerSent(keepsAlive: Bool) {
    answerIsSent = true
    nextKeepsAlive = keepsAlive
    if keepsAlive { flush() } else { closeOnceSent() }
  }

  /// Closes the connection as soon as all is out.
  func closeOnceSent() {
    turnDeaf()
    closesOnceSent = true
    expect(.takingAnswer)
    flush()
    if closesOnceSent, backlog.readableBytes == 0 { closeOutput() }
  }

  /// Sends the end of the connection once all is out, and gives the client time to see it: what it still sends is
  /// thrown away, for a reset could overtake the answer.
  private func closeOutput() {
    closesOnceSent = false
    guard let context else { return }
    expect(.takingAnswer)
    let sent = context.eventLoop.makePromise(of: Void.self)
    sent.futureResult.assumeIsolated().whenComplete { [self] _ in expect(.closing) }
    context.close(mode: .output, promise: sent)
  }

}
