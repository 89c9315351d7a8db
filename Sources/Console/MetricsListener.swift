import Accepting
package import NIOCore
import NIOHTTP1
import NIOPosix

/// Whether the pool can serve a request now.
package enum Readiness: Sendable, Equatable {
  case ready
  /// In words.
  case notReady(because: String)
}

/// What the listener asks its owner for, on its event loop, at each request.
package struct MetricsSource: Sendable {
  /// In Prometheus' text format.
  package var metrics: @Sendable () -> String
  package var readiness: @Sendable () -> Readiness

  package init(metrics: @escaping @Sendable () -> String, readiness: @escaping @Sendable () -> Readiness) {
    self.metrics = metrics
    self.readiness = readiness
  }
}

/// `/metrics`, `/healthz` and `/readyz`, on a listener of their own: a data plane that is full answers them still.
///
/// HTTP/1.1, GET only, one request for each connection.
package final class MetricsListener: Sendable {
  /// Connections at once; a further one is closed as soon as it is accepted.
  package static let maximumConnections = 64
  /// From a connection's beginning to its end.
  static let connectionTime = TimeAmount.seconds(10)
  /// A request's header fields, in bytes.
  static let headLimit = 16 << 10

  /// Where it listens, with the port that was chosen.
  package let address: SocketAddress
  private let channel: any Channel
  private let connections: NIOLoopBound<MetricsConnections>

  private init(_ channel: any Channel, _ address: SocketAddress, _ connections: NIOLoopBound<MetricsConnections>) {
    self.channel = channel
    self.address = address
    self.connections = connections
  }

  /// - Throws: what the kernel says to the address.
  package static func start(
    on address: SocketAddress, loop: any EventLoop, source: MetricsSource
  ) async throws -> MetricsListener {
    let connections = try await loop.submit { NIOLoopBound(MetricsConnections(source), eventLoop: loop) }.get()
    let channel = try await ServerBootstrap(group: loop).pausingWithoutDescriptors()
      .serverChannelOption(.backlog, value: 64)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          var limits = NIOHTTPDecoderLimitConfiguration()
          limits.maxHeaderFieldSize = headLimit
          limits.maxHeaderListSize = headLimit
          let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(ByteToMessageHandler(decoder, maximumBufferSize: headLimit * 2))
          try pipeline.addHandler(MetricsConnection(connections.value))
        }
      }
      .bind(to: address).get()
    guard let bound = channel.localAddress else { throw ChannelError.unknownLocalAddress }
    return MetricsListener(channel, bound, connections)
  }

  package func close() async {
    try? await channel.close().get()
    let loop = channel.eventLoop
    try? await loop.flatSubmit { [connections] in
      EventLoopFuture.andAllComplete(connections.value.open.values.map { $0.close() }, on: loop)
    }.get()
  }
}
