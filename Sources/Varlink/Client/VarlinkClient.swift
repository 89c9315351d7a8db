import FoundationEssentials
package import NIOCore
import NIOPosix

/// One connection to a Varlink service. Calls may come from any task, and are answered in the order they were made.
///
/// The connection closes with ``close()``, when the last reference goes, and when a call on it times out or is
/// cancelled: replies carry no name, so none after a missing one could be told apart.
package final class VarlinkClient: Sendable {
  /// A reply longer than this closes the connection. Wider than what a server takes: one asks only whom one trusts,
  /// and lists are longer than questions.
  package static let maximumReplyBytes = 16 << 20

  /// Between two attempts to connect while the server's backlog is full.
  private static let connectPause = Duration.milliseconds(20)

  /// The socket that it is connected to.
  package let path: String

  private let channel: any Channel
  private let connection: NIOLoopBound<ClientConnection>

  private init(path: String, channel: any Channel, connection: NIOLoopBound<ClientConnection>) {
    self.path = path
    self.channel = channel
    self.connection = connection
  }

  deinit {
    if channel.isActive { channel.close(promise: nil) }
  }

  /// Connects.
  /// - Parameter timeout: for all attempts together.
  /// - Throws: `.cannotConnect`, `.cancelled`
  package static func connect(
    to path: String, on group: any EventLoopGroup, timeout: Duration = .seconds(5)
  ) async throws(VarlinkError) -> VarlinkClient {
    let clock = ContinuousClock()
    let deadline = clock.now + timeout
    while true {
      do {
        let bootstrap = ClientBootstrap(group: group).connectTimeout(TimeAmount(deadline - clock.now))
        let (channel, connection) = try await bootstrap.connect(unixDomainSocketPath: path) { channel in
          channel.eventLoop.makeCompletedFuture {
            let connection = ClientConnection(maximumMessageBytes: maximumReplyBytes)
            try channel.pipeline.syncOperations.addHandler(connection)
            return (channel, NIOLoopBound(connection, eventLoop: channel.eventLoop))
          }
        }
        return VarlinkClient(path: path, channel: channel, connection: connection)
      } catch let error as IOError where error.errnoCode == EAGAIN && clock.now + connectPause < deadline {
        do {
          try await Task.sleep(for: connectPause)
        } catch {
          throw VarlinkError(.cancelled, "connecting to \(path) was cancelled", cause: error)
        }
      } catch {
        throw .cannotConnect(to: path, errno: errorNumber(error), cause: error)
      }
    }
  }

  /// Whether calls can still be made.
  package var isOpen: Bool { channel.isActive }

  /// Makes a call and waits for its reply.
  /// - Parameters:
  ///   - method: the qualified name, `org.example.Ping.Ping`.
  ///   - parameters: must encode to an object.
  ///   - timeout: for this call, the time that it waits for the answers to earlier ones included; nil for none.
  /// - Throws: `.remote` with the service's error, `.closed`, `.malformed`, `.timeout`, `.cancelled`, `.busy`
  package func call<Reply: Decodable & Sendable>(
    _ method: String, _ parameters: some Encodable = NoParameters(), as type: Reply.Type = Reply.self,
    timeout: Duration? = nil
  ) async throws(VarlinkError) -> Reply {
    let frame = try VarlinkMessage.call(method, parameters)
    let message = try await answer(to: method, timeout: timeout) { connection, promise in
      connection.call(frame, answer: promise)
    }
    let (reply, continues) = try VarlinkMessage.readReply(message, as: type)
    if continues {
      let error = VarlinkError.malformed("the service answered \(method) with a stream that nobody asked for")
      close(because: error)
      throw error
    }
    return reply
  }

  /// Makes a call that has no reply, and waits only until it is sent.
  /// - Throws: `.closed`, `.malformed`, `.cancelled`, `.busy`
  package func callOneway(
    _ method: String, _ parameters: some Encodable = NoParameters()
  ) async throws(VarlinkError) {
    let frame = try VarlinkMessage.call(method, parameters, oneway: true)
    try await answer(to: method, timeout: nil) { connection, promise in
      connection.callOneway(frame, sent: promise)
    }
  }

  /// Makes a call with `more`. The connection is the stream's until its last reply: further calls fail with `.busy`,
  /// so a long stream wants a client of its own.
  /// - Throws: `.closed`, `.malformed`, `.cancelled`, `.busy`. Errors of the service come from the sequence.
  package func subscribe<Reply: Decodable & Sendable>(
    _ method: String, _ parameters: some Encodable = NoParameters(), as type: Reply.Type = Reply.self
  ) async throws(VarlinkError) -> VarlinkReplies<Reply> {
    let frame = try VarlinkMessage.call(method, parameters, more: true)
    try await answer(to: method, timeout: nil) { connection, promise in
      connection.subscribe(frame, sent: promise)
    }
    return VarlinkReplies(Subscription(client: self, method: method))
  }

  /// Closes the connection; what is still waiting fails with `.closed`.
  package func close() async {
    try? await channel.close().get()
  }

  // MARK: - For subscriptions

  func nextReply(to method: String) async throws(VarlinkError) -> Data {
    try await answer(to: method, timeout: nil) { connection, promise in connection.wait(promise) }
  }

  func subscriptionEnded() {
    guard channel.isActive else { return }
    channel.eventLoop.execute { [connection] in connection.value.subscriptionEnded() }
  }

  func close(because reason: VarlinkError) {
    guard channel.isActive else { return }
    channel.eventLoop.execute { [connection] in connection.value.close(because: reason) }
  }

  /// Waits for what `start`, on the event loop, promises; closes the connection if that takes too long or the task is
  /// cancelled.
  private func answer<Value: Sendable>(
    to method: String, timeout: Duration?,
    start: @escaping @Sendable (ClientConnection, EventLoopPromise<Value>) -> Void
  ) async throws(VarlinkError) -> Value {
    let promise = channel.eventLoop.makePromise(of: Value.self)
    channel.eventLoop.execute { [connection, channel] in
      if let timeout {
        let limit = channel.eventLoop.scheduleTask(in: TimeAmount(timeout)) {
          let error = VarlinkError(.timeout, "no answer to \(method) within \(timeout)")
          promise.fail(error)
          connection.value.close(because: VarlinkError(.closed, "the connection was closed: \(error)", cause: error))
        }
        promise.futureResult.whenComplete { _ in limit.cancel() }
      }
      start(connection.value, promise)
    }
    do {
      return try await withTaskCancellationHandler {
        try await promise.futureResult.get()
      } onCancel: {
        let error = VarlinkError(.cancelled, "the call of \(method) was cancelled")
        promise.fail(error)
        close(because: VarlinkError(.closed, "the connection was closed: \(error)", cause: error))
      }
    } catch let error as VarlinkError {
      throw error
    } catch {
      throw VarlinkError(.closed, "the connection to \(path) broke: \(error)", cause: error)
    }
  }

  private static func errorNumber(_ error: any Error) -> CInt {
    switch error {
    case let error as IOError: error.errnoCode
    case ChannelError.connectTimeout: ETIMEDOUT
    case SocketAddressError.unixDomainSocketPathTooLong: ENAMETOOLONG
    default: EIO
    }
  }
}
