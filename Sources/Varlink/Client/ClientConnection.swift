import FoundationEssentials
import NIOCore

/// The client's end of one connection: replies go to those who wait for them, in order. Bound to its event loop.
final class ClientConnection: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private var frames: FrameBuffer
  /// Those who wait for a message, the oldest first.
  private var waiting: CircularBuffer<EventLoopPromise<Data>> = []
  /// Whether replies may come without anybody waiting: they are kept, and beyond a bound left in the kernel.
  private var isSubscribed = false
  private var readIsHeld = false
  /// Why nothing can be called any more.
  private var failure: VarlinkError?
  /// Set from when the handler is in the pipeline until the connection has gone.
  private var context: ChannelHandlerContext?

  init(maximumMessageBytes: Int) {
    frames = FrameBuffer(maximumMessageBytes: maximumMessageBytes)
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  // MARK: - What the client asks for

  /// - Parameter answer: gets the reply, or the reason why there will be none.
  func call(_ frame: ByteBuffer, answer: EventLoopPromise<Data>) {
    if isSubscribed { return answer.fail(Self.busy) }
    send(frame, promise: nil)
    wait(answer)
  }

  /// A call that has no reply.
  /// - Parameter sent: is told when the kernel has the call.
  func callOneway(_ frame: ByteBuffer, sent: EventLoopPromise<Void>) {
    if isSubscribed { return sent.fail(Self.busy) }
    send(frame, promise: sent)
  }

  /// A call whose replies are fetched one by one with ``wait(_:)``, until ``subscriptionEnded()``.
  /// - Parameter sent: is told when the kernel has the call.
  func subscribe(_ frame: ByteBuffer, sent: EventLoopPromise<Void>) {
    if isSubscribed { return sent.fail(Self.busy) }
    isSubscribed = true
    send(frame, promise: sent)
  }

  /// The last reply of the subscription has come: calls may follow.
  func subscriptionEnded() {
    isSubscribed = false
    deliver()
  }

  /// The next message goes to `promise`, after those that already wait.
  func wait(_ promise: EventLoopPromise<Data>) {
    waiting.append(promise)
    deliver()
    if context == nil { failAll(failure ?? .closed) }
  }

  /// Closes the connection; whoever waits gets `reason`.
  func close(because reason: VarlinkError) {
    if failure == nil { failure = reason }
    context?.close(promise: nil)
  }

  private func send(_ frame: ByteBuffer, promise: EventLoopPromise<Void>?) {
    if let context {
      context.writeAndFlush(wrapOutboundOut(frame), promise: promise)
    } else {
      promise?.fail(failure ?? .closed)
    }
  }

  private static let busy = VarlinkError(
    .busy, "a subscription has this connection: call or subscribe on another one")

  // MARK: - What the channel tells

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    frames.append(unwrapInboundIn(data))
    deliver()
  }

  func read(context: ChannelHandlerContext) {
    if frames.isFull { readIsHeld = true } else { context.read() }
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.context = nil
    deliver()
    failAll(failure ?? .closed)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    close(because: VarlinkError(.closed, "the connection broke: \(error)", cause: error))
  }

  private func deliver() {
    do throws(VarlinkError) {
      while let promise = waiting.first, let message = try frames.next() {
        waiting.removeFirst()
        promise.succeed(message)
      }
      if waiting.isEmpty, !isSubscribed, !frames.isEmpty, failure == nil {
        throw .malformed("the service sent a message that nobody asked for")
      }
    } catch {
      close(because: error)
    }
    if readIsHeld, !frames.isFull {
      readIsHeld = false
      context?.read()
    }
  }

  private func failAll(_ error: VarlinkError) {
    while let promise = waiting.popFirst() { promise.fail(error) }
  }
}
