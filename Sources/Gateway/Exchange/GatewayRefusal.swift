/// Why the gateway itself refuses a request, so that its delegate never gets it. The values are the codes that clients
/// see.
package enum GatewayRefusal: String, Hashable, Sendable, CaseIterable {
  case malformedRequest = "malformed_request"
  case targetTooLong = "target_too_long"
  case headTooLong = "head_too_long"
  case hostNotAllowed = "host_not_allowed"
  case originNotAllowed = "origin_not_allowed"
  /// It shows nothing by which somebody may come in.
  case unauthenticated
  /// It is for administrators.
  case forbidden
  case notFound = "not_found"
  case methodNotAllowed = "method_not_allowed"
  case expectationFailed = "expectation_failed"
  case bodyTooLarge = "body_too_large"
  /// It did not come in time.
  case requestTimeout = "request_timeout"
  /// What is held of requests fills the memory that is meant for it.
  case memoryFull = "memory_full"
  /// On its connection more requests wait behind one another than are kept.
  case pipelineFull = "pipeline_full"
  /// There are as many connections as may be.
  case tooManyConnections = "too_many_connections"

  /// The HTTP status that it is answered with.
  package var status: Int {
    switch self {
    case .malformedRequest: 400
    case .unauthenticated: 401
    case .hostNotAllowed, .originNotAllowed, .forbidden: 403
    case .notFound: 404
    case .methodNotAllowed: 405
    case .requestTimeout: 408
    case .bodyTooLarge: 413
    case .targetTooLong: 414
    case .expectationFailed: 417
    case .headTooLong: 431
    case .memoryFull, .pipelineFull, .tooManyConnections: 503
    }
  }

  /// Whether it is the pool that lacks something, and not the request that is wrong.
  package var isForWantOfRoom: Bool { status == 503 }

  /// Whether what follows on the connection can be trusted to be a request.
  var leavesConnectionUsable: Bool {
    switch self {
    case .hostNotAllowed, .originNotAllowed, .unauthenticated, .forbidden, .notFound, .methodNotAllowed,
      .expectationFailed:
      true
    case .malformedRequest, .targetTooLong, .headTooLong, .bodyTooLarge, .requestTimeout, .memoryFull,
      .pipelineFull, .tooManyConnections:
      false
    }
  }
}
