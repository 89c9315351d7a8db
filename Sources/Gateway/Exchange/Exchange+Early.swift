import NIOCore
import OllamaAPI
import PoolCore

/// A stream of events that begins before there is an answer: its client hears how long it will wait, in comments, which
/// those who don't know of them pass over. What fails from then on is an error within the stream.
extension Exchange {
  /// Whether the answer will be a stream of events.
  private var streamsEvents: Bool { wantsStream && dialect != .ollama }

  /// Begins the stream.
  ///
  /// - Returns: false where the client did not ask for it, with `X-Pool-Progress: 1`, or gets no events; then nothing
  ///   changed.
  package func beginEarly() -> Bool {
    guard case .parked = stage, early == nil, streamsEvents, header("X-Pool-Progress") == "1", let client else {
      return false
    }
    let own = OwnStream(isChunked: !isHTTP10, keepsAlive: !isHTTP10 && client.answerMayKeepAlive(self))
    early = own
    var tail = ownTail(client)
    tail.keepsAlive = own.keepsAlive
    var buffer = ByteBufferAllocator().buffer(capacity: 512)
    HTTPText.answerHead(
      status: 200,
      headers: [
        ("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"),
      ], end: own.isChunked ? .chunked : .close, tail: tail, into: &buffer)
    client.send(buffer)
    client.flush()
    return true
  }

  /// A line that is no event, once the stream has begun and before the answer does.
  ///
  /// - Parameter text: of one line.
  package func comment(_ text: some Collection<UInt8>) {
    guard let early, !hasBegun, let client, client.hasTakenAnswers else { return }
    write(Array(": ".utf8) + text + Array("\n\n".utf8), early, to: client)
    client.flush()
  }

  private func write(_ content: some Collection<UInt8>, _ own: OwnStream, to client: any ExchangeClient) {
    var buffer = ByteBufferAllocator().buffer(capacity: content.count + 16)
    if own.isChunked { HTTPText.writeChunk(content, into: &buffer) } else { buffer.writeBytes(content) }
    client.send(buffer)
  }

  /// The instance's answer follows what the pool has begun.
  ///
  /// - Returns: whether the body is to follow.
  func answerFollows(
    _ head: ResponseHead, _ bytes: ByteBuffer, _ own: OwnStream, from upstream: UpstreamConnection
  ) -> Bool {
    let format = bytes.withUnsafeReadableBytes { raw in
      StreamFormat.of(route, status: head.status, contentType: head.contentType(raw))
    }
    answer = AnswerRelay(
      transport: format == .wholeMessage ? .failure : .content, isChunked: own.isChunked, keepsAlive: own.keepsAlive,
      end: StreamEnd(format))
    begin(upstream)
    answerStatus = head.status
    progressedAt = .now()
    gateway.delegate.exchangeReceivedFirstByte(self)
    guard case .answering = stage else { return false }
    return true
  }

  /// The instance's own error, as an event; whatever else it gave in place of a stream is no use.
  func tellFailure(_ answer: AnswerRelay, to client: any ExchangeClient) {
    guard let early else { return }
    // A line's end would end the event's data.
    let body = answer.content.readableBytesView.map { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") ? 32 : $0 }
    if let status = answerStatus, status >= 400, body.first == UInt8(ascii: "{"), body.count < Self.fillLimit {
      let prefix = dialect == .anthropic ? "event: error\ndata: " : "data: "
      write(Array(prefix.utf8) + body + Array("\n\n".utf8), early, to: client)
    } else {
      write(event(of: .instanceFailed("it gave no stream")), early, to: client)
    }
  }

  /// The pool's own error ends what it has begun.
  func endEarly(_ own: OwnStream, with error: PoolError, _ client: any ExchangeClient) {
    write(event(of: error), own, to: client)
    if own.isChunked { client.send(ByteBuffer(string: HTTPText.lastChunk)) }
    client.answerSent(keepsAlive: own.keepsAlive)
  }

  private func event(of error: PoolError) -> [UInt8] {
    ErrorBody.midStream(
      dialect == .anthropic ? .anthropicEvents : .openAIEvents, status: error.status, message: error.message,
      code: error.code, requestID: String(id.number))
  }
}
