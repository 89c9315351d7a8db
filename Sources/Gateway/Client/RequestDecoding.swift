import NIOCore
import NIOHTTP1
import OllamaAPI

/// Has a client's bytes decoded, while there is something to decode.
///
/// A client may wait for its answer for hours, thousands of them do, and a decoder takes 1.7 KiB. So it is given away
/// once a request is whole and has to wait. What comes meanwhile is held as it is, for the decoder of the next request.
///
/// Stands before the decoder, so it also knows how a request began whose head that one can't read.
final class RequestDecoding: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias Decoder = ByteToMessageHandler<HTTPRequestDecoder>

  private let gateway: Gateway
  /// As long as both are in the pipeline.
  private var connection: ClientConnection?
  private var context: ChannelHandlerContext?
  /// In the channel's pipeline.
  private(set) var decoder: Decoder?
  private var isNeeded = true
  /// Whether the decoder is on its way out.
  private var isLeaving = false
  private var held = ByteBuffer()
  private var beginning = RequestBeginning()
  private var extent = RequestExtent()

  /// Puts the three handlers of a connection into an empty pipeline.
  static func add(to pipeline: ChannelPipeline.SynchronousOperations, of gateway: Gateway, checksHost: Bool) throws {
    let decoding = RequestDecoding(gateway)
    let connection = ClientConnection(gateway, checksHost: checksHost, decoding: decoding)
    try pipeline.addHandler(decoding)
    try pipeline.addHandler(connection)
    // They know each other from now on: each is told when it is removed.
    decoding.connection = connection
  }

  private init(_ gateway: Gateway) { self.gateway = gateway }

  private func addDecoder() throws {
    guard let context else { return }
    var limits = NIOHTTPDecoderLimitConfiguration()
    limits.maxHeaderFieldSize = gateway.limits.head
    limits.maxHeaderListSize = gateway.limits.head
    // The decoder never leaves more undecoded than a head, unless it has stopped, after an upgrade.
    let decoder = Decoder(
      HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits),
      maximumBufferSize: gateway.limits.head * 2)
    try context.pipeline.syncOperations.addHandler(decoder, position: .after(self))
    self.decoder = decoder
  }

  // MARK: The channel's events

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    connection = nil
    release()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data)
    guard isNeeded, !isLeaving else { return hold(bytes) }
    if decoder == nil { do { try addDecoder() } catch { return context.close(promise: nil) } }
    bytes.withUnsafeReadableBytes { bytes in
      beginning.read(bytes)
      extent.read(bytes)
    }
    context.fireChannelRead(data)
  }

  // MARK: What was decoded

  /// In the dialect of its path even what breaks the rules, or doesn't come to its end, is answered.
  var dialect: Dialect { beginning.dialect }

  func decoded(_ part: HTTPServerRequestPart) {
    switch part {
    case .head, .body: beginning.isExpected = false
    case .end: beginning.isExpected = true
    }
  }

  // MARK: Without a decoder

  /// A request is whole, and its answer may take long.
  ///
  /// - Parameter bodyBytes: of its body; nil if it came in chunks.
  func rest(afterBodyOf bodyBytes: Int?) {
    // Whether the decoder holds a piece of a further head is known only where there is none.
    guard isNeeded, !isLeaving, let context, let decoder, extent.isEnd(afterBodyOf: bodyBytes) else { return }
    (isNeeded, isLeaving) = (false, true)
    context.pipeline.syncOperations.removeHandler(decoder).assumeIsolated().whenComplete { [self] _ in
      self.decoder = nil
      isLeaving = false
      if isNeeded { decodeHeld() }
    }
  }

  /// The next request may come, or has come.
  ///
  /// - Parameter bodyBytes: as for ``rest(afterBodyOf:)``.
  func next(afterBodyOf bodyBytes: Int?) {
    extent.begin(afterBodyOf: bodyBytes)
    isNeeded = true
    if !isLeaving { decodeHeld() }
  }

  private func decodeHeld() {
    guard let context, context.channel.isActive, held.readableBytes > 0 else { return }
    let bytes = held
    release()
    channelRead(context: context, data: wrapInboundOut(bytes))
    context.fireChannelReadComplete()
  }

  private func hold(_ bytes: ByteBuffer) {
    held.writeImmutableBuffer(bytes)
    gateway.heldBytes += bytes.readableBytes
    if held.readableBytes >= WaitingParts.highCost || gateway.freeBytes <= 0 { connection?.setReading(false) }
  }

  private func release() {
    gateway.heldBytes -= held.readableBytes
    held = ByteBuffer()
  }
}
