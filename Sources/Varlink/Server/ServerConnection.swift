import FoundationEssentials
import NIOCore

/// The server's end of one connection: takes up one call at a time and writes its answers. Bound to its event loop.
final class ServerConnection: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let id: VarlinkConnectionID
  private let peer: VarlinkPeer
  private let server: ServerCore
  private var frames: FrameBuffer
  /// The answer that the peer waits for; nil while the next call may be taken up.
  private var current: Answering?
  private var isTakingCalls = false
  private var readIsHeld = false
  /// Set from when the handler is in the pipeline until the connection has gone.
  private var context: ChannelHandlerContext?

  init(id: VarlinkConnectionID, peer: VarlinkPeer, server: ServerCore) {
    self.id = id
    self.peer = peer
    self.server = server
    frames = FrameBuffer(maximumMessageBytes: server.limits.maximumMessageBytes)
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    // Closed only now: a connection that is turned away before it is registered counts as a failed accept.
    if !server.connections.admit(id, peer: peer, channel: context.channel) { context.close(promise: nil) }
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.context = nil
    let open = current
    current = nil
    let wasAdmitted = server.connections.remove(id)
    open?.connectionClosed()
    if wasAdmitted { server.onClose(id, peer) }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    frames.append(unwrapInboundIn(data))
    takeCalls()
  }

  func read(context: ChannelHandlerContext) {
    if frames.isFull { readIsHeld = true } else { context.read() }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    takeCalls()
    context.fireChannelWritabilityChanged()
  }

  /// Writes one reply of the call that `answering` belongs to, if that is still the current one.
  /// - Parameter frame: nil where the caller wants none.
  func write(_ frame: ByteBuffer?, of answering: Answering, isLast: Bool) {
    guard let context, current === answering else { return }
    if !isLast, unreadBytes(context) > server.limits.maximumUnreadBytes { return context.close(promise: nil) }
    if isLast { current = nil }
    if let frame { context.writeAndFlush(wrapOutboundOut(frame), promise: nil) }
    if isLast { takeCalls() }
  }

  /// Takes up calls while the one before is answered and the peer reads its answers: a peer that only writes would
  /// otherwise make this process hold the answers to all its calls.
  private func takeCalls() {
    // An answer given within `handle` comes back here: the loop below goes on with the next call, not a deeper one.
    guard !isTakingCalls else { return }
    isTakingCalls = true
    defer { isTakingCalls = false }
    while let context, current == nil, context.channel.isActive, context.channel.isWritable {
      do {
        guard let message = try frames.next() else { break }
        take(message, head: try VarlinkMessage.callHead(of: message), context: context)
      } catch {
        return context.close(promise: nil)
      }
    }
    if readIsHeld, !frames.isFull {
      readIsHeld = false
      context?.read()
    }
  }

  private func take(_ message: Data, head: VarlinkMessage.CallHead, context: ChannelHandlerContext) {
    let answering = Answering(
      channel: context.channel, owner: NIOLoopBound(self, eventLoop: context.eventLoop),
      maximumUnreadBytes: server.limits.maximumUnreadBytes)
    current = answering
    let lastDot = head.method.lastIndex(of: ".")
    let interfaceName = lastDot.map { String(head.method[..<$0]) } ?? head.method
    let method = lastDot.map { String(head.method[head.method.index(after: $0)...]) } ?? ""
    let call = VarlinkCall(
      head, method: method, message: message, peer: peer, connection: id, answering: answering)
    do throws(VarlinkErrorReply) {
      if head.upgrade { throw .invalidParameter("upgrade") }
      guard let interface = server.interfaces[interfaceName] else { throw .interfaceNotFound(interfaceName) }
      try interface.handle(call)
    } catch {
      call.fail(error)
    }
  }

  private func unreadBytes(_ context: ChannelHandlerContext) -> Int {
    (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
  }
}
