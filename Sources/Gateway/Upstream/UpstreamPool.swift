import Glibc
import NIOCore
import NIOPosix

/// Makes the connections to the instances, and keeps a few that have nothing to do for the next request.
final class UpstreamPool {
  private let loop: any EventLoop
  let limits: GatewayLimits
  /// By address; the one used last stands last, and is taken first.
  private var idle: [SocketAddress: [UpstreamConnection]] = [:]

  init(loop: any EventLoop, limits: GatewayLimits) {
    self.loop = loop
    self.limits = limits
  }

  var idleCount: Int { idle.values.reduce(0) { $0 + $1.count } }

  /// A connection to `address`, perhaps one that was used before.
  func connection(to address: SocketAddress, reused: Bool) -> UpstreamConnection {
    if reused, let connection = idle[address]?.popLast() { return connection }
    let connection = UpstreamConnection(to: address, pool: self)
    let handler = NIOLoopBound(connection, eventLoop: loop)
    let isolatedLoop = loop.assumeIsolated()
    ClientBootstrap(group: loop)
      .connectTimeout(limits.connectTime)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      // One read at a time, then the client's turn: so what is on its way to a slow client stays small.
      .channelOption(.maxMessagesPerRead, value: 1)
      .channelOption(
        .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 2048, maximum: 65_536)
      )
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler.value) }
      }
      .connect(to: address)
      .assumeIsolated()
      // Not at once: who asked for the connection is still at it.
      .whenFailure { error in isolatedLoop.execute { connection.connectFailed(error) } }
    return connection
  }

  /// Takes back a connection whose exchange has ended properly.
  func put(_ connection: UpstreamConnection) {
    guard idle[connection.address, default: []].count < limits.upstreamIdleConnections else {
      connection.close()
      return
    }
    connection.idleSince = .now()
    idle[connection.address, default: []].append(connection)
  }

  /// The connection has closed.
  func forget(_ connection: UpstreamConnection) {
    guard var kept = idle[connection.address], let index = kept.firstIndex(where: { $0 === connection }) else { return }
    kept.remove(at: index)
    idle[connection.address] = kept.isEmpty ? nil : kept
  }

  /// Closes what has been idle for too long.
  func closeIdle(at now: NIODeadline) {
    for (address, kept) in idle {
      let (old, young) = (
        kept.filter { now - $0.idleSince >= limits.upstreamIdleTime },
        kept.filter { now - $0.idleSince < limits.upstreamIdleTime }
      )
      idle[address] = young.isEmpty ? nil : young
      for connection in old { connection.close() }
    }
  }

  func closeAll() {
    let all = idle.values.joined()
    idle = [:]
    for connection in all { connection.close() }
  }

  /// Whether a connection failed for want of something in this process or on its machine, such as descriptors or ports,
  /// which says nothing of the instance.
  static func isOwnWant(_ error: any Error) -> Bool {
    guard let code = (error as? IOError)?.errnoCode else { return false }
    return [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL].contains(code)
  }

  /// What goes into the header `Host` of a request to `address`.
  static func hostHeader(for address: SocketAddress) -> String {
    guard let ip = address.ipAddress, let port = address.port else { return "localhost" }
    return ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
  }
}
