package import NIOCore
package import NIOPosix

/// On a listening channel: pauses it while the process or the machine has no descriptors or no memory for another
/// connection.
///
/// Such a listener stays readable, so that a loop which just goes on does nothing else: measured, one core to 100 %.
/// NIO's own `AcceptBackoffHandler` holds back reads that are asked for, and after a failed accept none is.
package final class AcceptPause: ChannelInboundHandler, Sendable {
  package typealias InboundIn = any Channel

  /// Until it is tried again: clients wait in the backlog meanwhile.
  package static let pause = TimeAmount.seconds(1)

  private static let shortages: Set = [EMFILE, ENFILE, ENOBUFS, ENOMEM]

  private let pause: TimeAmount

  package init(for pause: TimeAmount = pause) { self.pause = pause }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.fireErrorCaught(error)
    guard let error = error as? IOError, Self.shortages.contains(error.errnoCode) else { return }
    let channel = context.channel
    // Without it the channel is not told that it is readable.
    _ = channel.setOption(.autoRead, value: false)
    channel.eventLoop.scheduleTask(in: pause) { _ = channel.setOption(.autoRead, value: true) }
  }
}

extension ServerBootstrap {
  /// With an ``AcceptPause``: every listener of the pool has one.
  package func pausingWithoutDescriptors() -> ServerBootstrap {
    serverChannelInitializer { channel in
      channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptPause()) }
    }
  }
}
