import Accepting
import Glibc
package import NIOCore
import NIOHTTP1
import NIOPosix
package import OllamaAPI
import PoolCore

/// The HTTP data plane: reads clients' requests, tells the delegate, and relays as told.
///
/// Everything lives on one event loop: the clients, their connections to the instances, the delegate's state. Create
/// it there, and call it there.
package final class Gateway {
  package let loop: any EventLoop
  package private(set) var limits: GatewayLimits
  let delegate: any GatewayDelegate
  private(set) var rules: RequestRules
  let upstreams: UpstreamPool

  private var listeners: [any Channel] = []
  private(set) var connections: [ObjectIdentifier: ClientConnection] = [:]
  /// Those among them that were too many, and are only answered so.
  private var refused: Set<ObjectIdentifier> = []
  private var lastRequestID: UInt64 = 0
  private var timeCheck: RepeatedTask?
  /// Completes when the last client's connection has closed.
  private var closing: EventLoopPromise<Void>?
  /// Whether answers from now on close their connections.
  private(set) var isStopping = false
  /// Bytes of requests that are held: of heads, of bodies, and of what waits behind a request under way.
  package internal(set) var heldBytes = 0
  /// Bytes of answers that are held because clients don't take them.
  package private(set) var untakenBytes = 0
  private var isMakingRoom = false
  /// The last piece of an answer of the pool's own.
  var piece = ByteBuffer()

  /// - Parameters:
  ///   - hosts: which names a listener on loopback answers to.
  ///   - origins: which web pages may use the API.
  package init(
    loop: any EventLoop, delegate: any GatewayDelegate, limits: GatewayLimits = GatewayLimits(), hosts: HostRule,
    origins: OriginRule = OriginRule()
  ) {
    self.loop = loop
    self.delegate = delegate
    self.limits = limits
    rules = RequestRules(limits: limits, hosts: hosts, origins: origins)
    upstreams = UpstreamPool(loop: loop, limits: limits)
  }

  /// What may be held besides. Negative where uploads under way, or what was read in one piece, went beyond.
  var freeBytes: Int { limits.bodies - heldBytes }
  /// Clients' connections that are open.
  package var openConnections: Int { connections.count }
  /// Connections to instances that are kept for the next request.
  package var idleUpstreamConnections: Int { upstreams.idleCount }
  /// Where it listens.
  package var addresses: [SocketAddress] { listeners.compactMap(\.localAddress) }

  /// New bounds and origins hold for requests from now on; those of the connections to instances stay as they were.
  package func adopt(limits: GatewayLimits, origins: OriginRule) {
    self.limits = limits
    rules.limits = limits
    rules.origins = origins
  }

  // MARK: Listening

  /// - Returns: the address with the port that was chosen.
  package func listen(on address: SocketAddress) -> EventLoopFuture<SocketAddress> {
    listen(checksHost: address.isLoopback) { $0.bind(to: address) }
  }

  /// Takes over a listening socket. It is closed even where this fails.
  package func listen(inherited socket: CInt) -> EventLoopFuture<SocketAddress> {
    listen(checksHost: nil) { $0.withBoundSocket(socket) }
  }

  /// - Parameter checksHost: nil if the socket has to be asked for its address.
  private func listen(
    checksHost: Bool?, _ open: (ServerBootstrap) -> EventLoopFuture<any Channel>
  ) -> EventLoopFuture<SocketAddress> {
    startTimeCheck()
    let gateway = NIOLoopBound(self, eventLoop: loop)
    let bootstrap = ServerBootstrap(group: loop).pausingWithoutDescriptors()
      .serverChannelOption(.backlog, value: 4096)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelOption(.maxMessagesPerRead, value: 16)
      .childChannelOption(.maxMessagesPerRead, value: 1)
      .childChannelOption(
        // The channel keeps its last buffer, also while its client waits for hours: most requests fit into a small one.
        .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 512, maximum: 65_536)
      )
      .childChannelOption(
        .writeBufferWaterMark,
        value: .init(low: ClientConnection.lowWaterMark, high: ClientConnection.highWaterMark)
      )
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let checksHost = checksHost ?? channel.parent?.localAddress?.isLoopback ?? true
          try gateway.value.prepare(channel, checksHost: checksHost)
        }
      }
    let opened = open(bootstrap).assumeIsolated().flatMapThrowing { [self] channel in
      guard let address = channel.localAddress else { throw ChannelError.unknownLocalAddress }
      guard !isStopping else {
        channel.close(promise: nil)
        throw ChannelError.alreadyClosed
      }
      listeners.append(channel)
      return address
    }
    return opened.nonisolated()
  }

  private func prepare(_ channel: any Channel, checksHost: Bool) throws {
    if channel.remoteAddress?.protocol != .unix, let options = channel.syncOptions {
      try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
      // A client may wait for hours; one whose machine is gone is noticed after about two minutes.
      try options.setOption(.socketOption(.so_keepalive), value: 1)
      try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 60)
      try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 15)
      try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 4)
    }
    try RequestDecoding.add(to: channel.pipeline.syncOperations, of: self, checksHost: checksHost)
  }

  /// Closes the listeners and the connections without a request. The others close with their answer.
  package func stopAccepting() {
    isStopping = true
    for listener in listeners { listener.close(promise: nil) }
    listeners = []
    for connection in connections.values { connection.closeIfIdle() }
    upstreams.closeAll()
  }

  /// Closes everything; what is under way ends as cancelled.
  package func close() -> EventLoopFuture<Void> {
    stopAccepting()
    timeCheck?.cancel()
    timeCheck = nil
    let closing = closing ?? loop.makePromise(of: Void.self)
    self.closing = closing
    for connection in connections.values { connection.close() }
    upstreams.closeAll()
    if connections.isEmpty { closing.succeed(()) }
    return closing.futureResult
  }

  // MARK: For the connections

  /// - Returns: false if there are too many.
  func opened(_ connection: ClientConnection) -> Bool {
    connections[ObjectIdentifier(connection)] = connection
    if connections.count - refused.count <= limits.connections { return true }
    refused.insert(ObjectIdentifier(connection))
    return false
  }

  /// Whether a connection that is refused may stay for its answer to be read.
  var refusedMayLinger: Bool { refused.count <= limits.refusedConnections }

  func closed(_ connection: ClientConnection) {
    connections[ObjectIdentifier(connection)] = nil
    refused.remove(ObjectIdentifier(connection))
    if connections.isEmpty { closing?.succeed(()) }
  }

  func untakenChanged(by bytes: Int) {
    untakenBytes += bytes
    guard bytes > 0, untakenBytes > limits.untaken, !isMakingRoom else { return }
    isMakingRoom = true
    // Not in the middle of a write.
    loop.assumeIsolated().execute { [self] in
      isMakingRoom = false
      makeRoom()
    }
  }

  /// Closes connections until what clients don't take is little enough. One that takes some keeps its connection longer
  /// than one that takes nothing.
  private func makeRoom() {
    var slow = connections.values.filter { $0.untakenBytes > 0 }.sorted { $0.tookAt > $1.tookAt }
    while untakenBytes > limits.untaken, slow.count > 1, let slowest = slow.popLast() {
      delegate.gatewayCutOff(slowest.peerAddress)
      slowest.close()
    }
  }

  func nextRequestID() -> RequestID {
    lastRequestID += 1
    return RequestID(lastRequestID)
  }

  /// One look at all connections now and then, in place of a timer for each.
  private func startTimeCheck() {
    guard timeCheck == nil else { return }
    let shortest = [
      limits.headTime, limits.bodyPause, limits.uploadStall, limits.idleTime, limits.clientStall, limits.lingerTime,
      limits.upstreamIdleTime,
    ].reduce(TimeAmount.seconds(4), min)
    let pause = TimeAmount.nanoseconds(max(shortest.nanoseconds / 4, 1_000_000))
    let gateway = NIOLoopBound(self, eventLoop: loop)
    timeCheck = loop.scheduleRepeatedTask(initialDelay: pause, delay: pause) { _ in gateway.value.checkTime() }
  }

  private func checkTime() {
    let now = NIODeadline.now()
    for connection in connections.values { connection.checkTime(now) }
    upstreams.closeIdle(at: now)
  }
}

extension SocketAddress {
  /// Whether only this machine reaches it over the network: 127.0.0.0/8, ::1, and those mapped.
  var isLoopback: Bool {
    switch self {
    case .v4: ipAddress?.hasPrefix("127.") == true
    case .v6: ipAddress == "::1" || ipAddress?.hasPrefix("::ffff:127.") == true
    case .unixDomainSocket: false
    }
  }
}
