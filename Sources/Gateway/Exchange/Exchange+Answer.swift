import NIOCore
import OllamaAPI
import PoolCore

/// What is known of an answer that is being passed on.
final class AnswerRelay {
  /// How the body gets from the instance's framing into the client's.
  enum Transport {
    /// Byte for byte: the framing is the same on both sides.
    case verbatim
    /// What ends with the instance's connection goes in chunks.
    case inChunks
    /// The content alone: up to the end of the connection for a client of HTTP/1.0, in chunks of its own behind what
    /// the pool has said before.
    case content
    /// The instance's error becomes one of a stream that the pool has begun.
    case failure
  }

  let transport: Transport
  /// Whether the client sees chunks, so that content can be added before the end.
  let isChunked: Bool
  let keepsAlive: Bool
  var end: StreamEnd
  /// The content's last byte; nil while there is none.
  var lastByte: UInt8?
  /// The content of the bytes just read; only for transports that need it apart.
  var content = ByteBuffer()

  init(transport: Transport, isChunked: Bool, keepsAlive: Bool, end: StreamEnd) {
    self.transport = transport
    self.isChunked = isChunked
    self.keepsAlive = keepsAlive
    self.end = end
  }

  /// A stream that ended as HTTP but without its end marker.
  var isTruncated: Bool { end.outcome == .truncated }
}

/// Passing an instance's answer on to the client.
extension Exchange {
  /// Of the answer so far, about; 0 before it begins.
  package var answerTokens: Int { route.generates ? answer?.end.tokens ?? 0 : 0 }
  /// Of the question, about, or what the instance has counted where that is more: it leaves out what it knew already.
  package var questionTokens: Int { max(estimatedQuestionTokens, answer?.end.questionTokens ?? 0) }

  /// The head of an answer came. Passes it on, unless the delegate wants the request served elsewhere.
  ///
  /// - Returns: whether the body is to follow.
  func answerArrived(_ head: ResponseHead, _ bytes: ByteBuffer, from upstream: UpstreamConnection) -> Bool {
    guard case .attempting = stage else { return false }
    if head.status >= 500, !shouldPassOn(status: head.status, from: upstream) { return false }
    guard let client else { return false }
    if let early { return answerFollows(head, bytes, early, from: upstream) }

    let (transport, end) = framing(of: head)
    let keepsAlive = client.answerMayKeepAlive(self) && transport != .content
    var buffer = ByteBufferAllocator().buffer(capacity: 512)
    let format = bytes.withUnsafeReadableBytes { raw in
      HTTPText.answerHead(head, raw, end: end, tail: tail(keepsAlive: keepsAlive), into: &buffer)
      return StreamFormat.of(route, status: head.status, contentType: head.contentType(raw))
    }
    var isChunked = false
    if case .chunked = end { isChunked = true }
    answer = AnswerRelay(transport: transport, isChunked: isChunked, keepsAlive: keepsAlive, end: StreamEnd(format))
    begin(upstream)
    answerStatus = head.status
    progressedAt = .now()
    client.sendHead(status: head.status, buffer)
    // The client may have turned out to be gone.
    guard case .answering = stage else { return false }
    gateway.delegate.exchangeReceivedFirstByte(self)
    guard case .answering = stage else { return false }
    return true
  }

  private func framing(of head: ResponseHead) -> (AnswerRelay.Transport, HTTPText.BodyEnd) {
    switch head.framing {
    case .none:
      // 204 has no length; HEAD and 304 tell the one that GET would have.
      let length = head.status == 204 ? nil : head.announcedLength
      return (.verbatim, length.map { .length($0) } ?? .none)
    case .length(let length): return (.verbatim, .length(length))
    case .chunked: return isHTTP10 ? (.content, .close) : (.verbatim, .chunked)
    case .untilClose: return isHTTP10 ? (.content, .close) : (.inChunks, .chunked)
    }
  }

  /// Looks at a piece of the content while it goes by.
  @inline(__always)
  func observe(_ content: UnsafeRawBufferPointer) {
    answer?.end.consume(content)
    answer?.lastByte = content.last
    switch answer?.transport {
    case .content: answer?.content.writeBytes(content)
    case .failure:
      // What is longer is no use.
      let room = Self.fillLimit - (answer?.content.readableBytes ?? 0)
      answer?.content.writeBytes(content.prefix(room))
    case .verbatim, .inChunks, nil: break
    }
  }

  /// Passes on the bytes of the body that the scanner consumed.
  func passOn(_ bytes: ByteBuffer, _ step: ResponseScanner.BodyStep) {
    guard let client, let transport = answer?.transport else { return }
    progressedAt = .now()
    switch transport {
    case .verbatim:
      if let terminator = step.terminator, answer?.isTruncated == true {
        send(bytes, 0..<terminator, to: client)
        explain(.truncated, owed: .none, to: client)
        send(bytes, terminator..<step.consumed, to: client)
      } else if step.consumed == bytes.readableBytes {
        client.sendNow(bytes)
      } else {
        send(bytes, 0..<step.consumed, to: client)
      }
    case .inChunks:
      guard step.consumed > 0 else { return }
      client.send(ByteBuffer(string: String(step.consumed, radix: 16) + "\r\n"))
      send(bytes, 0..<step.consumed, to: client)
      client.send(ByteBuffer(string: "\r\n"))
    case .content:
      guard let content = answer?.content, content.readableBytes > 0 else { return }
      answer?.content = ByteBuffer()
      if answer?.isChunked == true {
        var chunk = ByteBufferAllocator().buffer(capacity: content.readableBytes + 16)
        HTTPText.writeChunk(content.readableBytesView, into: &chunk)
        client.send(chunk)
      } else {
        client.send(content)
      }
    case .failure: break
    }
  }

  private func send(_ bytes: ByteBuffer, _ range: Range<Int>, to client: any ExchangeClient) {
    guard !range.isEmpty, let slice = bytes.getSlice(at: bytes.readerIndex + range.lowerBound, length: range.count)
    else { return }
    client.send(slice)
  }

  /// The answer came to its end as HTTP.
  func answerEnded() {
    guard case .answering = stage, let answer, let client else { return }
    if answer.transport == .failure { tellFailure(answer, to: client) }
    if answer.transport != .verbatim {
      if answer.isTruncated, answer.transport != .failure {
        error = Shared(wrappedValue: .truncated)
        explain(.truncated, owed: .none, to: client)
      }
      if answer.isChunked { client.send(ByteBuffer(string: HTTPText.lastChunk)) }
    }
    client.answerSent(keepsAlive: answer.keepsAlive)
    end(outcome(of: answer))
  }

  private func outcome(of answer: AnswerRelay) -> ExchangeOutcome {
    if answer.transport == .failure { return .failed(.reportedInStream) }
    if let answerStatus, answerStatus >= 500 { return .failed(.status(answerStatus)) }
    return switch answer.end.outcome {
    case .complete: .served
    case .failedInBand: .failed(.reportedInStream)
    case .truncated: .failed(.truncated)
    }
  }

  /// The connection to the instance broke in the middle of the answer.
  func answerLost(problem: String, owed: ResponseScanner.Debt) {
    guard case .answering = stage else { return }
    lastProblem = problem
    breakOff(with: .instanceLost, owed: owed)
    end(.failed(.instanceLost))
  }

  /// Ends an answer that has begun with an error in its dialect.
  func breakOff(with error: PoolError) {
    guard case .answering(let upstream) = stage else { return }
    breakOff(with: error, owed: upstream.debt)
  }

  /// Ends a stream with the error and a proper end, so that the client can tell what happened. Anything else can only
  /// break: the client finds its answer incomplete.
  private func breakOff(with error: PoolError, owed: ResponseScanner.Debt) {
    guard let client, let answer else { return }
    self.error = Shared(wrappedValue: error)
    if let early, answer.transport == .failure { return endEarly(early, with: error, client) }
    guard answer.end.format != .wholeMessage, answer.isChunked || answer.transport == .content,
      explain(error, owed: answer.transport == .verbatim ? owed : .none, to: client)
    else {
      // Closed in the middle, so that the client finds its answer incomplete.
      client.closeOnceSent()
      return
    }
    if answer.isChunked { client.send(ByteBuffer(string: HTTPText.lastChunk)) }
    client.answerSent(keepsAlive: answer.keepsAlive)
  }

  /// A chunk that the instance began is filled up with blanks to this length; more is not worth it.
  static let fillLimit = 64 << 10

  /// Adds an error to a stream.
  ///
  /// - Parameter owed: what is missing of the chunk that the instance began.
  /// - Returns: false if the stream can't be continued.
  @discardableResult
  private func explain(_ error: PoolError, owed: ResponseScanner.Debt, to client: any ExchangeClient) -> Bool {
    guard let answer else { return false }
    var lastByte = answer.lastByte
    var buffer = ByteBuffer()
    switch owed {
    case .none: break
    case .lineEnd: buffer.writeString("\r\n")
    case .content(let missing):
      guard missing <= Self.fillLimit else { return false }
      buffer.writeRepeatingByte(UInt8(ascii: " "), count: missing)
      buffer.writeString("\r\n")
      lastByte = UInt8(ascii: " ")
    }
    let text = ErrorBody.midStream(
      answer.end.format, status: error.status, message: error.message, code: error.code, requestID: String(id.number))
    let content = separator(after: lastByte, answer.end.format) + text
    if answer.isChunked {
      HTTPText.writeChunk(content, into: &buffer)
    } else {
      buffer.writeBytes(content)
    }
    client.send(buffer)
    return true
  }

  /// What makes the error a line, or an event, of its own.
  private func separator(after lastByte: UInt8?, _ format: StreamFormat) -> [UInt8] {
    guard let lastByte else { return [] }
    let endsLine = lastByte == UInt8(ascii: "\n")
    return switch format {
    // A blank line would be no JSON.
    case .generation, .progress, .wholeMessage: endsLine ? [] : Array("\n".utf8)
    // A line's end may be in the middle of an event; a blank line more is no event.
    case .openAIEvents, .anthropicEvents: Array((endsLine ? "\n" : "\n\n").utf8)
    }
  }

  /// The client takes the answer again.
  func clientCaughtUp() {
    switch stage {
    case .answering(let upstream): upstream.setPaused(false)
    case .streaming: gateway.delegate.exchangeCaughtUp(self)
    case .receiving, .parked, .preparing, .attempting, .upgraded, .ended: break
    }
  }

  // MARK: Answers of the pool's own

  /// Sends an error, before any other answer.
  func send(_ error: PoolError, headers: [(name: String, value: String)]) {
    guard let client else { return }
    answerStatus = error.status
    self.error = Shared(wrappedValue: error)
    if let early { return endEarly(early, with: error, client) }
    client.sendError(error, dialect: dialect, headers: headers, isHead: route.isHead, tail: ownTail(client))
  }

  /// Sends a whole answer.
  func sendWhole(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {
    guard let client else { return }
    answerStatus = status
    client.sendWhole(status: status, headers: headers, body: body, isHead: route.isHead, tail: ownTail(client))
  }

  func ownTail(_ client: any ExchangeClient) -> AnswerTail {
    tail(keepsAlive: client.answerMayKeepAlive(self))
  }

  private func tail(keepsAlive: Bool) -> AnswerTail {
    AnswerTail(
      requestID: id.number, fields: plan.corsHeaders + gateway.delegate.answerFields(of: self), keepsAlive: keepsAlive,
      isHTTP10: isHTTP10)
  }
}
