package import NIOCore
package import OllamaAPI

/// The HTTP data plane: reads clients' requests, tells the delegate, and relays as told.
///
/// Everything lives on one event loop: the clients, their connections to the instances, the delegate's state. Create
/// it there, and call it there.
package final class Gateway {
  package let loop: any EventLoop
  package private(set) var limits: GatewayLimits
  private let delegate: any GatewayDelegate

  package init(
    loop: any EventLoop, delegate: any GatewayDelegate, limits: GatewayLimits = GatewayLimits(), hosts: HostRule,
    origins: OriginRule = OriginRule()
  ) {
    self.loop = loop
    self.delegate = delegate
    self.limits = limits
  }
}

extension Gateway {
  /// Clients' connections that are open.
  package var openConnections: Int { 0 }
  /// Bytes of request bodies that are held.
  package var heldBodyBytes: Int { 0 }
  /// Where it listens.
  package var addresses: [SocketAddress] { [] }

  /// - Returns: the address with the port that was chosen.
  package func listen(on address: SocketAddress) -> EventLoopFuture<SocketAddress> { loop.makeSucceededFuture(address) }

  /// Takes over a listening socket.
  package func listen(inherited socket: CInt) -> EventLoopFuture<SocketAddress> {
    loop.makeFailedFuture(ChannelError.operationUnsupported)
  }

  /// Closes the listeners and the connections without a request. The others close with their answer.
  package func stopAccepting() {}

  /// Closes everything; what is under way ends as cancelled.
  package func close() -> EventLoopFuture<Void> { loop.makeSucceededVoidFuture() }
}
