package import NIOCore
package import OllamaAPI
package import PoolCore

/// One request of a client and its answer. Lives on the gateway's event loop.
///
/// The delegate's verbs do nothing once the exchange has ended, so a decision that comes too late does no harm.
package final class Exchange {
  /// In the order of arrival.
  package internal(set) var id = RequestID(0)
  package let route: Route
  package var dialect: Dialect { route.dialect }
  /// As the client wrote it; nil where none could be read.
  package internal(set) var model: String?
  package internal(set) var wantsStream = false
  package let peerAddress: SocketAddress?
  /// Bytes of the request's body so far.
  package internal(set) var bodyBytes = 0

  /// The status of the answer that went to the client; nil before.
  package internal(set) var answerStatus: Int?
  /// Bytes of the answer's body that came from the instance so far.
  package internal(set) var answerBytes = 0
  /// When the instance last sent something, or the client last held it back.
  package internal(set) var lastProgress: NIODeadline
  /// Whether the instance is being held back because the client doesn't take what came.
  package var isClientSlow: Bool { false }
  /// Whether the head of an answer went to the client.
  package var hasBegun: Bool { answerStatus != nil }
  /// Whether the request could be sent again: not once a part of a streamed body has gone out.
  package var isReplayable: Bool { true }
  /// What went wrong in the last attempt, for the journal.
  package internal(set) var lastProblem: String?

  init(route: Route, peerAddress: SocketAddress?, now: NIODeadline) {
    self.route = route
    self.peerAddress = peerAddress
    lastProgress = now
  }

  /// Sends the request to the instance at `address` and relays its answer.
  package func relay(to address: SocketAddress) {}

  /// Answers with an error of the pool's own; after the answer has begun the same as ``interrupt(_:)``.
  package func refuse(_ error: PoolError) {}

  /// Ends the exchange and closes its connection to the instance. An answer that has begun ends with the error in its
  /// dialect; else the same as ``refuse(_:)``.
  package func interrupt(_ error: PoolError) {}

  /// Drops an attempt that has given no byte: the exchange is parked again.
  ///
  /// - Returns: false if there is none, the answer has begun, or the request can't be sent again; then nothing changed.
  @discardableResult
  package func withdraw() -> Bool { false }

  /// Gives an answer of the pool's own.
  package func respond(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {}
}
