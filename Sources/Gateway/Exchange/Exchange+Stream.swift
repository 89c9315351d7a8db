import NIOCore

/// How an answer of the pool's own is framed.
struct OwnStream {
  let isChunked: Bool
  let keepsAlive: Bool
}

/// Answers of the pool's own that go out piece by piece, such as events.
extension Exchange {
  /// Whether the client takes more without anything piling up. Where it is false the delegate's
  /// ``GatewayDelegate/exchangeCaughtUp(_:)`` says when it takes more.
  package var takesMore: Bool { client?.hasTakenAnswers ?? false }

  /// Begins an answer whose length nobody knows yet.
  package func beginStream(status: Int, headers: [(name: String, value: String)]) {
    guard case .parked = stage, let client else { return }
    let keepsAlive = !isHTTP10 && client.answerMayKeepAlive(self)
    stage = .streaming(OwnStream(isChunked: !isHTTP10, keepsAlive: keepsAlive))
    releaseBody()
    forgetHeaders()
    answerStatus = status
    var buffer = ByteBufferAllocator().buffer(capacity: 512)
    var tail = ownTail(client)
    tail.keepsAlive = keepsAlive
    if headers.contains(where: { $0.name == AnswerTail.requestIDField }) { tail.requestID = nil }
    HTTPText.answerHead(
      status: status, headers: headers, end: isHTTP10 ? .close : .chunked, tail: tail, into: &buffer)
    client.sendHead(status: status, buffer)
    client.flush()
  }

  /// Of the memory for pieces, in bytes: nearly all are small.
  private static let pieceKept = 16 << 10

  /// The next piece; it goes out at once.
  package func stream(_ bytes: [UInt8]) {
    guard case .streaming(let own) = stage, let client, !bytes.isEmpty else { return }
    // The same memory for all pieces that go out at once. Of one that waits it is left, and another is taken.
    gateway.piece.clear()
    if own.isChunked { HTTPText.writeChunk(bytes, into: &gateway.piece) } else { gateway.piece.writeBytes(bytes) }
    client.sendNow(gateway.piece)
    if gateway.piece.capacity > Self.pieceKept { gateway.piece = ByteBuffer() }
  }

  /// The answer is complete.
  package func endStream() {
    guard case .streaming(let own) = stage, let client else { return }
    if own.isChunked { client.send(ByteBuffer(string: HTTPText.lastChunk)) }
    client.answerSent(keepsAlive: own.keepsAlive)
    end(.served)
  }

  /// The answer stays incomplete, so that the client can tell.
  package func cutStream() {
    guard case .streaming = stage else { return }
    client?.closeOnceSent()
    end(.failed(.refused(code: "cut")))
  }
}
