import DequeModule
import NIOCore
import NIOHTTP1
import OllamaAPI
import PoolCore

/// The request's body, and sending the request to an instance.
///
/// A buffered body is held whole until the answer begins, since it may have to be sent again elsewhere. A streamed one
/// is passed on as it comes; while it can't be, the client isn't read.
extension Exchange {
  /// Bytes of a streamed body that may wait for the instance before the client is held back.
  static let streamedBytesLimit = 64 << 10
  /// Parts of a streamed body that are smaller are put together while they wait, in bytes.
  private static let smallPart = 4 << 10

  var isStreamed: Bool { route.body == .streamed }

  /// The next part of the body came from the client.
  ///
  /// - Throws: the limit that is exceeded.
  func bodyArrived(_ part: ByteBuffer) throws(RequestFault) {
    let count = part.readableBytes
    bodyBytes += count
    if isStreamed {
      // Where an instance takes it, holding the client back is enough.
      if !hasInstance, count > gateway.freeBytes { throw .memoryFull }
      keep(part)
      pumpBody()
      return
    }
    let limit = gateway.limits.body(for: route)
    if bodyBytes > limit { throw .bodyTooLarge(limit) }
    if count > gateway.freeBytes { throw .memoryFull }
    if body.capacity == 0 {
      // Exact for small ones: a waiting client should cost little. A large announced length is not believed at once.
      body = ByteBufferAllocator().buffer(capacity: min(plan.contentLength ?? count, 64 << 10))
    }
    body.writeImmutableBuffer(part)
    hold(count)
  }

  /// The whole body at once, of a request of the pool's own.
  func takeWhole(_ body: ByteBuffer) throws(RequestFault) {
    guard body.readableBytes <= gateway.freeBytes else { throw .memoryFull }
    releaseBody()
    self.body = body
    bodyBytes = body.readableBytes
    hold(bodyBytes)
    bodyIsWhole = true
    try readFields()
  }

  /// Keeps a part of a streamed body until the instance takes it.
  private func keep(_ part: ByteBuffer) {
    let count = part.readableBytes
    // A chunk without content would end the body.
    guard count > 0 else { return }
    if let last = streamedParts.last, last.readableBytes + count <= Self.smallPart {
      streamedParts[streamedParts.count - 1].writeImmutableBuffer(part)
    } else {
      // A small piece of what was read would keep all of it alive.
      streamedParts.append(count <= Self.smallPart ? ByteBuffer(buffer: part) : part)
    }
    streamedBytes += count
    hold(count)
  }

  func bodyEnded() {
    bodyIsWhole = true
    if isStreamed { pumpBody() }
  }

  func releaseBody() {
    hold(-body.readableBytes - streamedBytes)
    body = ByteBuffer()
    streamedParts = []
    streamedBytes = 0
  }

  /// Reads what the delegate and the relay want to know of the body.
  ///
  /// - Throws: where the pool can't read what an instance still might. It would be judged by what it didn't ask for: an
  ///   instance is condemned for the silence of a stream, and not for that of a whole answer.
  func readFields() throws(RequestFault) {
    guard route.body == .buffered else { return }
    do {
      let fields = try body.withUnsafeReadableBytes { bytes in try RequestFields.scan(bytes) }
      estimatedQuestionTokens = body.withUnsafeReadableBytes { QuestionTokens.count($0, isJSON: fields != nil) }
      model = fields?.model
      wantsStream = route.streams(fields)
      if let fields, route.readsOptions {
        $options = fields.options.shared
        obeyRule()
      }
    } catch {
      throw .malformed("The request's body has more than \(RequestFields.mostMembers) members.")
    }
  }

  /// Changes in the body what is settled for its model. Its length is announced anew to the instance.
  private func obeyRule() {
    guard let model else { return }
    let rule = gateway.limits.modelRules[model]
    let edits = body.withUnsafeReadableBytes { BodyEdit.edits($0, for: rule) }
    guard !edits.isEmpty else { return }
    let before = body.readableBytes
    var changed = ByteBufferAllocator().buffer(
      capacity: edits.reduce(before) { $0 - $1.range.count + $1.replacement.count })
    for edit in edits {
      let offset = before - body.readableBytes
      if var untouched = body.readSlice(length: edit.range.lowerBound - offset) { changed.writeBuffer(&untouched) }
      changed.writeBytes(edit.replacement)
      body.moveReaderIndex(forwardBy: edit.range.count)
    }
    changed.writeBuffer(&body)
    body = changed
    hold(body.readableBytes - before)
    $options = rule.granted(options).shared
  }

  /// The connection to the instance is there.
  func sendRequest(over upstream: UpstreamConnection) {
    var buffer = ByteBufferAllocator().buffer(capacity: 1024)
    let isChunked = isStreamed && plan.isChunked
    let isHeld = plan.hasBody || body.readableBytes > 0
    let length = isStreamed || !isHeld ? plan.contentLength : body.readableBytes
    HTTPText.requestHead(
      head, target: plan.target, host: upstream.host, bodyLength: length, isChunked: isChunked, into: &buffer)
    upstream.send(buffer)
    if isStreamed {
      if plan.expectsContinue, bodyBytes == 0, !bodyIsWhole { client?.askForBody() }
      pumpBody()
    } else {
      if body.readableBytes > 0 { upstream.send(body) }
      hasSentRequest = true
    }
    upstream.flush()
  }

  /// Passes on of a streamed body what the instance takes, and holds the client back or lets it go on.
  func pumpBody() {
    if case .attempting(let upstream) = stage { pumpBody(into: upstream) }
    if case .answering(let upstream) = stage { pumpBody(into: upstream) }
    guard let client else { return }
    // Where memory is short, what the instance has not taken is enough.
    if streamedBytes >= (gateway.freeBytes > 0 ? Self.streamedBytesLimit : 1) {
      client.pauseBody(isForInstance: hasInstance)
    } else {
      client.resumeBody()
    }
  }

  private var hasInstance: Bool {
    switch stage {
    case .attempting, .answering: true
    case .receiving, .parked, .preparing, .streaming, .upgraded, .ended: false
    }
  }

  private func pumpBody(into upstream: UpstreamConnection) {
    guard upstream.isConnected, !hasSentRequest else { return }
    while upstream.isWritable, let part = streamedParts.popFirst() {
      progressedAt = .now()
      streamedBytes -= part.readableBytes
      hold(-part.readableBytes)
      hasSentStreamedBody = true
      if plan.isChunked { upstream.send(ByteBuffer(string: String(part.readableBytes, radix: 16) + "\r\n")) }
      upstream.send(part)
      if plan.isChunked { upstream.send(ByteBuffer(string: "\r\n")) }
    }
    if streamedParts.isEmpty, bodyIsWhole {
      if plan.isChunked { upstream.send(ByteBuffer(string: HTTPText.lastChunk)) }
      hasSentRequest = true
    }
    upstream.flush()
  }
}
