import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// An instance that answers probes by itself, and holds every other request until the test says what becomes of it.
final class FakeOllama: Sendable {
  /// What the instance does by itself.
  struct Behaviour: Sendable {
    /// To `/api/version`; nil for no answer at all.
    var versionStatus: UInt? = 200
    /// The body to `/api/ps`; nil for no answer at all.
    var processList: String? = #"{"models":[]}"#
    /// The body to `/api/tags` where the dispatcher asks for itself.
    var modelList = #"{"models":[]}"#
    /// The body where the chat does, which waits a second for it; nil where the test answers.
    var chatModelList: String?
  }

  let name: String
  private let listener: any Channel
  private let state: State

  final class State: Sendable {
    let behaviour = Mutex(Behaviour())
    let asked = Mutex<[Asked]>([])
    let channels = Mutex<[any Channel]>([])
  }

  static func start(_ name: String = "gpu0") async throws -> FakeOllama {
    let state = State()
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          state.channels.withLock { $0.append(channel) }
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
          try pipeline.addHandler(FakeConnection(state))
        }
      }
      // No other test gets its port once it is dead.
      .bind(host: "127.0.0.1", port: freePort()).get()
    return FakeOllama(name, listener, state)
  }

  private init(_ name: String, _ listener: any Channel, _ state: State) {
    self.name = name
    self.listener = listener
    self.state = state
  }

  deinit { listener.close(promise: nil) }

  var address: String { "127.0.0.1:\(listener.localAddress?.port ?? 0)" }

  /// Whether it tells what it holds in memory.
  var tellsWhatItHolds: Bool { state.behaviour.withLock { $0.processList != nil } }

  func behave(_ change: (inout Behaviour) -> Void) { state.behaviour.withLock { change(&$0) } }

  /// Everything it was asked so far beside `/api/version` and `/api/ps`, in the order of arrival.
  var asked: [Asked] { state.asked.withLock { $0 } }

  /// The request of this number, from 0, once it is there.
  func ask(_ number: Int = 0) async throws -> Asked {
    try await eventualValue("\(name) is asked \(number + 1) times") {
      let asked = asked
      return asked.count > number ? asked[number] : nil
    }
  }

  /// Nobody listens there any more, and all connections break.
  func die() async throws {
    try await listener.close()
    for channel in state.channels.withLock({ $0 }) { try? await channel.close() }
  }
}

/// A request that an instance holds, and the way to answer it.
final class Asked: Sendable {
  let method: String
  let path: String
  let headers: HTTPHeaders
  let body: String
  private let channel: any Channel

  fileprivate init(_ head: HTTPRequestHead, _ body: String, _ channel: any Channel) {
    method = head.method.rawValue
    path = head.uri
    headers = head.headers
    self.body = body
    self.channel = channel
  }

  /// Whether the client's side is still there.
  var isOpen: Bool { channel.isActive }

  func waitUntilClosed() async throws {
    try await eventually("the dispatcher closes its connection for \(path)") { !channel.isActive }
  }

  /// A whole answer.
  func answer(_ body: String, status: UInt = 200, type: String = "application/json") async throws {
    try await send(
      "HTTP/1.1 \(status) X\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
  }

  /// The head of a stream.
  func begin(_ type: String = "application/x-ndjson", isLast: Bool = false) async throws {
    let end = isLast ? "Connection: close\r\n" : ""
    try await send("HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\n\(end)Transfer-Encoding: chunked\r\n\r\n")
  }

  func chunk(_ text: String) async throws {
    try await send("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n")
  }

  func finish() async throws { try await send("0\r\n\r\n") }

  /// A stream as Ollama's `generate` sends it, from head to end.
  ///
  /// - Parameter isLast: whether the connection takes no further request.
  func serve(_ word: String = "word", isLast: Bool = false) async throws {
    try await begin(isLast: isLast)
    try await chunk(#"{"response":"\#(word)","done":false}"# + "\n")
    try await chunk(#"{"response":"","done":true,"done_reason":"stop"}"# + "\n")
    try await finish()
  }

  func breakOff() async { try? await channel.close() }

  private func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }
}

private final class FakeConnection: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = ByteBuffer

  private let state: FakeOllama.State
  private var head: HTTPRequestHead?
  private var body = ByteBuffer()

  init(_ state: FakeOllama.State) { self.state = state }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      body.clear()
    case .body(var part): body.writeBuffer(&part)
    case .end:
      guard let head else { return }
      let behaviour = state.behaviour.withLock { $0 }
      switch head.uri {
      case "/api/version":
        if let status = behaviour.versionStatus { answer(status, #"{"version":"0.0.0"}"#, context) }
      case "/api/ps":
        if let list = behaviour.processList { answer(200, list, context) }
      case "/api/tags" where head.headers["user-agent"] == ["ollama-pool"]: answer(200, behaviour.modelList, context)
      case "/api/tags" where behaviour.chatModelList != nil: answer(200, behaviour.chatModelList ?? "", context)
      default:
        let asked = Asked(head, String(buffer: body), context.channel)
        state.asked.withLock { $0.append(asked) }
      }
    }
  }

  private func answer(_ status: UInt, _ body: String, _ context: ChannelHandlerContext) {
    let text = "HTTP/1.1 \(status) X\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text + body)), promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
