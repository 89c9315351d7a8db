package import NIOCore
package import NIOHTTP1
package import OllamaAPI
package import PoolCore

/// Decides what happens to the clients' requests. The gateway itself makes no scheduling decision.
///
/// Every call comes on the gateway's event loop, and may call back into any exchange at once.
package protocol GatewayDelegate: AnyObject {
  /// What browsers call this server, as far as a proxy may say so: as in Host.
  func publicHost(_ headers: HTTPHeaders, from peer: SocketAddress?) -> String?

  /// Who sends a request, by its head, before its body is read.
  func gatewayAdmits(_ head: HTTPRequestHead, _ route: Route, from peer: RequestPeer) -> Admission

  /// A request is there: its head, and its body too unless the route's body is `.streamed`.
  func exchangeArrived(_ exchange: Exchange)

  /// The head of the instance's answer went to the client; from here on the request can't be served elsewhere.
  func exchangeReceivedFirstByte(_ exchange: Exchange)

  /// An attempt failed before any byte of the answer had gone to the client. ``Exchange/lastProblem`` says how.
  ///
  /// The exchange stands parked: `relay` may be called from within, with `.wait` as the answer. Where the request can't
  /// be sent again (``Exchange/isReplayable``), `.wait` means `.passOn`.
  func exchangeAttemptFailed(_ exchange: Exchange, _ failure: AttemptFailure) -> RelayVerdict

  /// Fields that the head of an exchange's answer has besides, whosever answer it is. Asked for when it is written.
  func answerFields(of exchange: Exchange) -> [(name: String, value: String)]

  /// The client of an answer of the pool's own takes more of it again.
  func exchangeCaughtUp(_ exchange: Exchange)

  /// Comes exactly once for each exchange that arrived, also when the delegate itself ended it.
  func exchangeEnded(_ exchange: Exchange, _ outcome: ExchangeOutcome)

  /// The gateway has refused what a client sent, before it became an exchange that arrived.
  func gatewayRefused(_ refusal: GatewayRefusal, from peer: SocketAddress?)

  /// For want of memory a client was taken to have left that took nothing of its answer; see ``GatewayLimits/untaken``.
  func gatewayCutOff(_ peer: SocketAddress?)

  /// This process could open no connection to an instance, for want of descriptors or the like. The gateway tries
  /// again.
  func gatewayLacksConnection(problem: String)
}

/// Where a request comes from.
package struct RequestPeer: Sendable {
  package let address: SocketAddress?
  /// Whether its listener can be reached from this machine alone.
  package let isOnLoopback: Bool
  /// Whether it is no page of some other origin that has a browser send it.
  package let isSameOrigin: Bool

  package init(address: SocketAddress?, isOnLoopback: Bool, isSameOrigin: Bool) {
    self.address = address
    self.isOnLoopback = isOnLoopback
    self.isSameOrigin = isSameOrigin
  }
}

/// Whether a request may come in.
package enum Admission: Sendable {
  /// nil for whoever it is, where a route asks for nobody.
  case admitted(Caller?)
  /// - Parameter because: for people.
  case refused(GatewayRefusal, because: String)
}

/// What the delegate wants done with an exchange whose attempt failed.
package enum RelayVerdict: Sendable {
  /// It stays parked; `relay` follows, or has been called already.
  case wait
  /// The client gets the instance's own answer. Only for `AttemptFailure.status`; of the others there is none, and the
  /// client gets a 502.
  case passOn
  /// The client gets this error.
  case fail(PoolError)
}

/// How an exchange ended.
package enum ExchangeOutcome: Hashable, Sendable {
  /// The client was given an answer to its end: the instance's, with a status below 500, or the pool's own.
  case served
  /// The client left, or stopped taking the answer for too long.
  case cancelled
  case failed(ExchangeFailure)
}

package enum ExchangeFailure: Hashable, Sendable {
  /// The delegate refused it, with the error of this code.
  case refused(code: String)
  /// The instance's own 5xx was passed on.
  case status(Int)
  /// The connection to the instance ended in the middle of the answer, or what came was no valid HTTP.
  case instanceLost
  /// The answer ended properly as HTTP, but without its end marker.
  case truncated
  /// The instance reported an error within the stream.
  case reportedInStream
  /// A streamed body broke HTTP's rules, stopped coming, or found no room while it waited for an instance. What a
  /// buffered one does so is told by ``GatewayDelegate/gatewayRefused(_:from:)``; this one isn't told there as well.
  case requestBody(GatewayRefusal)
}
