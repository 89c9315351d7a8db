import FoundationEssentials
import NIOCore
import Synchronization

/// A call that waits for its answer. It may be answered from any thread, once, or by a stream with one end; whatever
/// comes after the end, or after the connection has gone, does nothing.
///
/// The next call of the connection is taken up when this one is answered (`oneway`: answered or let go). A call that
/// is let go without an answer is answered `org.varlink.service.MethodNotImplemented`, lest its caller wait for ever.
package final class VarlinkCall: Sendable {
  /// The qualified name, `org.example.Ping.Ping`.
  package let name: String
  /// The name within the interface, `Ping`.
  package let method: String
  /// Whether the caller takes a stream of replies.
  package let wantsMore: Bool
  /// Whether the caller wants no answer. All answers are then dropped.
  package let isOneway: Bool
  package let peer: VarlinkPeer
  package let connection: VarlinkConnectionID

  private let message: Data
  private let answering: Answering

  init(
    _ head: VarlinkMessage.CallHead, method: String, message: Data, peer: VarlinkPeer,
    connection: VarlinkConnectionID, answering: Answering
  ) {
    name = head.method
    self.method = method
    wantsMore = head.more && !head.oneway
    isOneway = head.oneway
    self.peer = peer
    self.connection = connection
    self.message = message
    self.answering = answering
  }

  deinit {
    if isOpen { fail(.methodNotImplemented(name, reason: "the service let the call go without an answer")) }
  }

  /// False once the call is answered or its connection has gone.
  package var isOpen: Bool { answering.isOpen }

  /// Whether the peer keeps up. A stream of states, of which only the latest matters, should skip a push while this
  /// is false: a peer that does not read is cut off at ``VarlinkLimits/maximumUnreadBytes``.
  package var isWritable: Bool { answering.isWritable }

  /// The parameters; missing ones count as `{}`.
  /// - Throws: `InvalidParameter` with the path of the first one that is missing or of a wrong type.
  package func parameters<Parameters: Decodable>(
    as type: Parameters.Type = Parameters.self
  ) throws(VarlinkErrorReply) -> Parameters {
    try VarlinkMessage.parameters(of: message, as: type)
  }

  /// Answers: the only reply, or the last one of a stream.
  /// - Parameter parameters: must encode to an object.
  package func reply(_ parameters: some Encodable) {
    guard isOpen else { return }
    do {
      let frame = try VarlinkMessage.reply(parameters, continues: false)
      answering.send(isOneway ? nil : frame, isLast: true)
    } catch {
      fail(.methodNotImplemented(name, reason: error.message))
    }
  }

  /// Answers `{}`.
  package func reply() { reply(NoParameters()) }

  /// One reply of a stream, with more to come. Without `more` in the call the answer is `ExpectedMore`, and with it
  /// the call has ended. A peer with too much unread loses its connection, see ``VarlinkLimits/maximumUnreadBytes``.
  /// - Parameter parameters: must encode to an object.
  package func stream(_ parameters: some Encodable) {
    guard isOpen, !isOneway else { return }
    guard wantsMore else { return fail(.expectedMore) }
    do {
      answering.send(try VarlinkMessage.reply(parameters, continues: true), isLast: false)
    } catch {
      fail(.methodNotImplemented(name, reason: error.message))
    }
  }

  /// Answers with an error, which also ends a stream.
  package func fail(_ error: VarlinkErrorReply) {
    answering.send(isOneway ? nil : VarlinkMessage.errorReply(error), isLast: true)
  }
}

/// `{}`
package struct NoParameters: Codable, Sendable, Equatable {
  package init() {}
}

/// The life of one call's answer, shared by the call and its connection; thread-safe.
final class Answering: Sendable {
  private enum Phase {
    /// The caller waits → `answered`, `closed`.
    case open
    /// The last reply is under way. The end.
    case answered
    /// The connection went first. The end.
    case closed
  }

  private struct State {
    var phase = Phase.open
    /// On their way from another thread to the event loop, where the channel will count them.
    var handedOverBytes = 0

    var isOpen: Bool { if case .open = phase { true } else { false } }
  }

  /// Of ``State/handedOverBytes``, beyond which the peer does not count as keeping up.
  private static let handedOverWatermark = 65_536

  private let channel: any Channel
  private let owner: NIOLoopBound<ServerConnection>
  private let maximumUnreadBytes: Int
  private let state = Mutex(State())

  init(channel: any Channel, owner: NIOLoopBound<ServerConnection>, maximumUnreadBytes: Int) {
    self.channel = channel
    self.owner = owner
    self.maximumUnreadBytes = maximumUnreadBytes
  }

  var isOpen: Bool { state.withLock { $0.isOpen } }

  var isWritable: Bool {
    state.withLock { $0.isOpen && $0.handedOverBytes < Self.handedOverWatermark } && channel.isWritable
  }

  /// - Parameter frame: nil where the caller wants none.
  func send(_ frame: ByteBuffer?, isLast: Bool) {
    let bytes = frame?.readableBytes ?? 0
    let isOnLoop = channel.eventLoop.inEventLoop
    let handedOverBefore: Int? = state.withLock { state in
      guard state.isOpen else { return nil }
      if isLast { state.phase = .answered }
      let before = state.handedOverBytes
      if !isOnLoop { state.handedOverBytes += bytes }
      return before
    }
    guard let handedOverBefore else { return }
    if isOnLoop { return owner.value.write(frame, of: self, isLast: isLast) }
    // An event loop that is behind must not be buried by other threads.
    if !isLast, handedOverBefore > maximumUnreadBytes { return channel.close(promise: nil) }
    channel.eventLoop.execute { [self] in
      state.withLock { $0.handedOverBytes -= bytes }
      owner.value.write(frame, of: self, isLast: isLast)
    }
  }

  func connectionClosed() { state.withLock { if $0.isOpen { $0.phase = .closed } } }
}
