import Foundation
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// An upstream that does nothing by itself: the test says what each connection is answered, byte by byte.
final class FakeInstance: Sendable {
  private let listener: any Channel
  private let accepted: Accepted

  static func start() async throws -> FakeInstance {
    let accepted = Accepted()
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let connection = FakeConnection(channel)
          try channel.pipeline.syncOperations.addHandler(FakeConnectionHandler(connection))
          accepted.connections.withLock { $0.append(connection) }
        }
      }
      // No other test gets its port once it is stopped.
      .bind(host: "127.0.0.1", port: freePort()).get()
    return FakeInstance(listener, accepted)
  }

  private init(_ listener: any Channel, _ accepted: Accepted) {
    self.listener = listener
    self.accepted = accepted
  }

  deinit { listener.close(promise: nil) }

  var address: SocketAddress {
    get throws {
      guard let address = listener.localAddress else { throw ChannelError.unknownLocalAddress }
      return address
    }
  }

  /// As it goes into the header `Host`.
  var authority: String { get throws { "127.0.0.1:\(try address.port ?? 0)" } }

  var connectionCount: Int { accepted.connections.withLock { $0.count } }

  /// The connection of this number, from 0, in the order of arrival, once it is there.
  func connection(_ number: Int = 0) async throws -> FakeConnection {
    try await eventualValue("the instance gets connection \(number)") {
      accepted.connections.withLock { $0.count > number ? $0[number] : nil }
    }
  }

  /// Nobody listens there any more.
  func stop() async throws { try await listener.close() }

  private final class Accepted: Sendable {
    let connections = Mutex<[FakeConnection]>([])
  }
}

/// One connection to a `FakeInstance`.
final class FakeConnection: Sendable {
  private struct State {
    var received: [UInt8] = []
    var total = 0
    var keepsBytes = true
    var isClosed = false
  }

  private let channel: any Channel
  private let state = Mutex(State())

  fileprivate init(_ channel: any Channel) { self.channel = channel }

  fileprivate func add(_ bytes: ByteBuffer) {
    state.withLock { state in
      state.total += bytes.readableBytes
      if state.keepsBytes { state.received += bytes.readableBytesView }
    }
  }

  fileprivate func closed() { state.withLock { $0.isClosed = true } }

  /// Everything that came so far.
  var received: String { state.withLock { String(decoding: $0.received, as: UTF8.self) } }
  /// How many bytes came so far.
  var receivedCount: Int { state.withLock { $0.total } }
  var isClosed: Bool { state.withLock { $0.isClosed } }

  /// From now on only counts what comes.
  func onlyCount() { state.withLock { $0.keepsBytes = false } }
  func pauseReading() async throws { try await channel.setOption(.autoRead, value: false).get() }
  func resumeReading() async throws { try await channel.setOption(.autoRead, value: true).get() }

  /// Forgets what came; for the next request on the connection.
  func forget() { state.withLock { $0.received = [] } }

  /// A whole request as it came: head, and a body of the announced length.
  func request() async throws -> String {
    try await eventualValue("the instance gets a whole request") {
      let text = received
      guard let end = text.range(of: "\r\n\r\n") else { return nil }
      let length =
        text[..<end.lowerBound].split(separator: "\r\n")
        .first { $0.lowercased().hasPrefix("content-length:") }
        .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) } ?? 0
      return text[end.upperBound...].utf8.count >= length ? text : nil
    }
  }

  func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }
  func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

  /// Sends an answer whose body is `body`, with its length.
  func answer(_ body: String, status: Int = 200, type: String = "application/json") async throws {
    try await send(
      "HTTP/1.1 \(status) X\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
  }

  func close() async { try? await channel.close() }

  /// Closes so that the peer gets a reset.
  func reset() async throws {
    let socket = try #require(channel as? any SocketOptionProvider)
    try await socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
    try await channel.close()
  }

  func waitUntilClosed() async throws {
    try await eventually("the gateway closes its connection to the instance") { isClosed }
  }
}

private final class FakeConnectionHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let connection: FakeConnection
  init(_ connection: FakeConnection) { self.connection = connection }
  func channelRead(context: ChannelHandlerContext, data: NIOAny) { connection.add(unwrapInboundIn(data)) }
  func channelInactive(context: ChannelHandlerContext) { connection.closed() }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
