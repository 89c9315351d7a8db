package import NIOCore
package import OllamaAPI

/// Bounds on what a client may send and hold.
package struct GatewayLimits: Sendable {
  /// A request's header fields with their names and the request's target, in bytes: 431 beyond.
  package var head = 32 << 10
  /// A request's target, in bytes: 414 beyond.
  package var target = 8 << 10
  /// What a request's `Connection` fields may name, in bytes: 400 beyond. Real ones name two or three fields.
  package var connectionField = 1 << 10
  /// The body of a request that is read whole before it is passed on, in bytes: 413 beyond.
  package var requestBody = 64 << 20
  /// What is held of all requests at once, in bytes: bodies until the answer begins, what waits of streamed ones, heads
  /// until the answer's end, and what a client sends before its last request is answered. 503 beyond. Heads that have
  /// not come to their end are not among it: at most about 1.6 times `head` for each connection.
  package var bodies = 512 << 20
  /// What is held of answers that clients don't take, of all at once, in bytes. Beyond, those that have taken nothing
  /// for longest are taken to have left: else they would fill the memory, or keep others from their answers.
  package var untaken: Int { bodies / 8 }
  /// Open connections: 503 beyond, and closed.
  package var connections = 20_000
  /// How many beyond these are given time to read the 503. Any more are closed at once, since each takes a descriptor
  /// that requests under way may need.
  package var refusedConnections = 16
  /// From the first byte of a request to the end of its head: 408 beyond.
  package var headTime = TimeAmount.seconds(10)
  /// Between two pieces of a request's body: 408 beyond.
  package var bodyPause = TimeAmount.seconds(60)
  /// What a body that is read whole has to come with on the average, once `bodyPause` is over, in bytes a second: 408
  /// below. Else a few slow senders could hold all the memory for bodies.
  package var bodyRate = 32 << 10
  /// How long an instance may take nothing of a streamed body, while the client is held back: 502 beyond.
  package var uploadStall = TimeAmount.minutes(2)
  /// A connection without a request is closed after this: longer than clients keep theirs for the next one, so that
  /// it is they who close.
  package var idleTime = TimeAmount.seconds(120)
  /// A client that takes nothing of its answer for so long is taken to have left; else it would hold a slot for ever.
  package var clientStall = TimeAmount.minutes(10)
  /// How long what still comes is read and thrown away once the last answer of a connection is out, so that the
  /// answer isn't lost to a reset.
  package var lingerTime = TimeAmount.seconds(5)
  /// To set up a connection to an instance.
  package var connectTime = TimeAmount.seconds(5)
  /// Before another try where this process could not open one.
  package var connectionPause = TimeAmount.seconds(1)
  /// How long a connection to an instance is kept for the next request.
  package var upstreamIdleTime = TimeAmount.seconds(30)
  /// An instance that closes a kept connection as it is used does so within this; later it is the request's fault.
  package var upstreamClosingTime = TimeAmount.milliseconds(500)
  /// How many are kept for each instance: as many short requests at once as are likely, since a new connection takes
  /// longer than the request.
  package var upstreamIdleConnections = 128
  /// What the operator has settled for requests.
  package var modelRules = ModelRules()

  package init() {}

  func body(for route: Route) -> Int { min(requestBody, route.bodyLimit ?? requestBody) }
}
