package import Gateway
package import PoolCore

/// What the chat asks of the pool, on the loop.
package protocol ChatPool: AnyObject {
  var now: Instant { get }
  /// Whether some instance can answer at once what needs no slot.
  var hasInstance: Bool { get }
  /// The only models that are served; none where any may be.
  var servedModels: [String] { get }
  /// Whether its user's limits, or the queue's, forbid a question now; then it ends with that error at once. Otherwise
  /// nothing happens to it, and it is judged again when it arrives.
  func refuses(_ exchange: Exchange) -> Bool
  /// Where a request stands; nil where it does not wait. What comes of it later is told, see
  /// ``Chat/tell(_:to:)``.
  func place(of id: RequestID) -> QueuePlace?
  /// The client of a request is away: it gives its place or its slot up, and keeps its turn.
  func suspend(_ id: RequestID)
  /// It is back.
  func resume(_ id: RequestID)
  /// A question that an earlier dispatcher had accepted; no limit forbids it now.
  ///
  /// - Parameter isSuspended: whether it waits for its client.
  func restore(_ exchange: Exchange, isSuspended: Bool)
  /// Whoever shows this key; nil for none that was issued.
  func caller(withKey text: String) -> Caller?
  /// Somebody who asked before a restart.
  func caller(_ user: UserID, className: String, keyID: String?) -> Caller
  /// What somebody is entitled to now: a WebSocket may have been opened under another configuration.
  func share(of caller: Caller) -> DispatchRequest.Share
  /// Whether a proxy that is trusted says that the client of a request came to it by HTTPS.
  func cameByHTTPS(_ exchange: Exchange) -> Bool
  /// Something that was to be kept could not be.
  func storeFailed(_ problem: String)
  /// Questions are answered without the sources that they should have, or with fewer.
  func sourcesFailed(_ problem: String)
}
