import Accepting
package import Glibc
package import NIOCore
import NIOPosix

/// Serves interfaces on a Unix socket. See ``VarlinkLimits`` for the example and the bounds.
package final class VarlinkServer: Sendable {
  package enum Endpoint: Sendable {
    /// A socket file to make, with its mode. A file on which nobody answers is replaced, one on which somebody
    /// answers is refused. It is removed when the server closes.
    case path(String, mode: mode_t = 0o660)
    /// A descriptor that listens already, as the service manager passes it. The server closes it when it closes.
    case inherited(descriptor: CInt)
  }

  private let core: ServerCore
  private let listener: any Channel
  private let file: SocketFile?

  private init(core: ServerCore, listener: any Channel, file: SocketFile?) {
    self.core = core
    self.listener = listener
    self.file = file
  }

  /// Starts to serve.
  /// - Parameters:
  ///   - interfaces: each with a name of its own; `org.varlink.service` is added.
  ///   - group: the event loops of the connections. Given a single ``NIOCore/EventLoop``, all handlers run on it.
  ///   - onClose: runs on a connection's event loop when it has gone, so that the owner can forget what was told
  ///     over it.
  /// - Throws: `.cannotListen`
  package static func start(
    at endpoint: Endpoint, serving interfaces: [any VarlinkInterface], as service: VarlinkService,
    limits: VarlinkLimits = VarlinkLimits(), on group: any EventLoopGroup,
    onClose: @escaping @Sendable (VarlinkConnectionID, VarlinkPeer) -> Void = { _, _ in }
  ) async throws(VarlinkError) -> VarlinkServer {
    let socket: ListeningSocket
    let name: String
    switch endpoint {
    case .path(let path, let mode):
      name = path
      socket = try .bound(to: path, mode: mode)
    case .inherited(let descriptor):
      name = "descriptor \(descriptor)"
      socket = try .inherited(descriptor)
    }
    let core = ServerCore(interfaces: interfaces, service: service, limits: limits, onClose: onClose)
    do {
      let listener = try await bootstrap(core, on: group).withBoundSocket(socket.descriptor).get()
      return VarlinkServer(core: core, listener: listener, file: socket.file)
    } catch {
      socket.file?.remove()
      let code = (error as? IOError)?.errnoCode ?? EINVAL
      throw .cannotListen(at: name, errno: code, "the event loop did not take the socket: \(error)")
    }
  }

  /// Listens no more, closes all connections, removes the socket file. What handlers still answer is dropped.
  package func close() async {
    file?.remove()
    try? await listener.close().get()
    for connection in core.connections.close() { try? await connection.close().get() }
  }

  private static func bootstrap(_ core: ServerCore, on group: any EventLoopGroup) -> ServerBootstrap {
    ServerBootstrap(group: group).pausingWithoutDescriptors()
      .childChannelInitializer { channel in
        VarlinkPeer.of(channel).flatMapThrowing { peer in
          try channel.pipeline.syncOperations.addHandler(ServerConnection(id: .next(), peer: peer, server: core))
        }
      }
  }
}
