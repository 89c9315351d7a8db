import Glibc
import NIOCore
import NIOHTTP1
import OllamaAPI

/// Writing answers.
///
/// What the client doesn't take stays in memory, so it must stay small. The channel counts bytes, but each small piece
/// of a stream keeps alive the whole buffer it was received into. So the channel is given little; what comes beyond
/// that, until the instance is no longer read, is copied into one backlog. A whole answer of the pool's own may be
/// large, and is held until its client has taken it: see ``GatewayLimits/untaken``.
extension ClientConnection {
  /// The channel's marks, in bytes: above `high` nothing more is written to it until it is down to `low`.
  static let highWaterMark = 4 << 10
  static let lowWaterMark = 1 << 10
  /// The channel is given no more than this at once, in bytes, so that it shows how a client takes a large answer.
  private static let piece = 64 << 10

  var hasTakenAnswers: Bool { isWritable && backlog.readableBytes == 0 }

  func sendHead(status: Int, _ head: ByteBuffer) { send(head) }

  /// Writes without flushing.
  func send(_ bytes: ByteBuffer) {
    guard hasTakenAnswers else {
      backlog.writeImmutableBuffer(bytes)
      countUntaken()
      return
    }
    guard bytes.readableBytes <= Self.piece else {
      backlog = bytes
      writabilityChanged()
      return
    }
    channelMayHold = true
    context?.write(wrapOutboundOut(bytes), promise: nil)
    if !isWritable { flush() }
  }

  func flush() { if channelMayHold { context?.flush() } }

  func sendNow(_ bytes: ByteBuffer) {
    guard hasTakenAnswers, bytes.readableBytes <= Self.piece else { return send(bytes) }
    var bytes = bytes
    if channelIsEmpty { bytes.moveReaderIndex(forwardBy: sendPastChannel(bytes)) }
    guard bytes.readableBytes > 0 else { return }
    channelMayHold = true
    context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
  }

  private static let sendFlags = CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL)

  private var channelIsEmpty: Bool {
    guard channelMayHold else { return true }
    channelMayHold = (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) != 0
    return !channelMayHold
  }

  /// The way through the pipeline and the channel's list of what is to be written takes a third of the time of a small
  /// write, and most pieces are small: a token, or a place in the queue for each of thousands.
  ///
  /// - Returns: how many bytes the socket took. What it did not take is the channel's, and so is finding out why.
  private func sendPastChannel(_ bytes: ByteBuffer) -> Int {
    guard descriptor >= 0 else { return 0 }
    return bytes.withUnsafeReadableBytes { bytes in
      max(0, Glibc.send(descriptor, bytes.baseAddress, bytes.count, Self.sendFlags))
    }
  }

  func writabilityChanged() {
    guard !isWritingBacklog else { return }
    tookAt = .now()
    writeBacklog()
    countUntaken()
    guard hasTakenAnswers else {
      switch intake {
      case .head, .body, .answering: expect(.takingAnswer)
      case .rest, .deaf: if closesOnceSent { expect(.takingAnswer) }
      }
      return
    }
    if closesOnceSent { closeOutput() } else { caughtUp() }
  }

  /// As much as the channel takes.
  private func writeBacklog() {
    isWritingBacklog = true
    defer { isWritingBacklog = false }
    while isWritable, let piece = backlog.readSlice(length: min(Self.piece, backlog.readableBytes)),
      piece.readableBytes > 0
    {
      channelMayHold = true
      context?.writeAndFlush(wrapOutboundOut(piece), promise: nil)
    }
    if backlog.readableBytes == 0 { backlog = ByteBuffer() }
  }

  /// Until all is taken nothing is freed: each piece in the channel keeps alive what it is a piece of.
  private func countUntaken() {
    let inChannel = isWritable ? 0 : (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    countUntaken(hasTakenAnswers ? 0 : max(untakenBytes, backlog.storageCapacity + inChannel))
  }

  func countUntaken(_ bytes: Int) {
    let change = bytes - untakenBytes
    untakenBytes = bytes
    gateway.untakenChanged(by: change)
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
