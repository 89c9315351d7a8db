import NIOCore
import NIOHTTP1
import OllamaAPI

/// What a request's head alone decides.
final class RequestPlan: Sendable {
  let route: Route
  /// In origin form: what the instance is asked for.
  let target: String
  /// Go with whatever answer the client gets.
  let corsHeaders: [(name: String, value: String)]
  /// Of the head's text.
  let headBytes: Int
  /// nil for none, or one in chunks.
  let contentLength: Int?
  let isChunked: Bool
  let expectsContinue: Bool
  /// Whether another request may follow on the connection.
  let keepsAlive: Bool
  /// Whether the decoder takes what follows for another protocol.
  let stopsDecoder: Bool
  /// Whether its listener can be reached from this machine alone.
  let isOnLoopback: Bool

  init(
    route: Route, target: String, corsHeaders: [(name: String, value: String)] = [], headBytes: Int = 0,
    contentLength: Int? = nil, isChunked: Bool = false, expectsContinue: Bool = false, keepsAlive: Bool = false,
    stopsDecoder: Bool = false, isOnLoopback: Bool
  ) {
    self.route = route
    self.target = target
    self.corsHeaders = corsHeaders
    self.headBytes = headBytes
    self.contentLength = contentLength
    self.isChunked = isChunked
    self.expectsContinue = expectsContinue
    self.keepsAlive = keepsAlive
    self.stopsDecoder = stopsDecoder
    self.isOnLoopback = isOnLoopback
  }

  func peer(at address: SocketAddress?) -> RequestPeer {
    RequestPeer(address: address, isOnLoopback: isOnLoopback, isSameOrigin: corsHeaders.isEmpty)
  }

  var hasBody: Bool { isChunked || (contentLength ?? 0) > 0 }
  /// Of the body, in bytes; nil for one in chunks.
  var bodyLength: Int? { isChunked ? nil : contentLength ?? 0 }
}

/// Why a request goes no further than its head, and what the client gets.
struct RequestFault: Error {
  var dialect = Dialect.ollama
  let refusal: GatewayRefusal
  /// For people.
  let message: String
  var headers: [(name: String, value: String)] = []

  var error: PoolError {
    PoolError(
      status: refusal.status, code: refusal.rawValue, message: message,
      retryAfterSeconds: refusal.isForWantOfRoom ? 10 : nil)
  }

  func spoken(_ dialect: Dialect) -> RequestFault {
    RequestFault(dialect: dialect, refusal: refusal, message: message, headers: headers)
  }

  static func malformed(_ what: String, _ dialect: Dialect = .ollama) -> RequestFault {
    RequestFault(dialect: dialect, refusal: .malformedRequest, message: what)
  }

  static func bodyTooLarge(_ limit: Int) -> RequestFault {
    RequestFault(refusal: .bodyTooLarge, message: "The request's body is larger than \(limit) bytes.")
  }

  static let memoryFull = RequestFault(
    refusal: .memoryFull, message: "The server holds as many requests as its memory allows; try again.")

  static let pipelineFull = RequestFault(
    refusal: .pipelineFull,
    message: "More requests wait on this connection than the server keeps; send them after the answers to others.")

  static let tooManyConnections = RequestFault(
    refusal: .tooManyConnections, message: "The server has as many connections as it allows; try again.")

  static let slowRequest = RequestFault(refusal: .requestTimeout, message: "The request did not come in time.")

  static let headTooLong = RequestFault(refusal: .headTooLong, message: "The request's head is too long.")
}

/// Judges requests by their heads. A value without I/O.
struct RequestRules {
  enum Verdict {
    case pass(RequestPlan)
    /// The answer to a browser's question whether a page may ask: 204 with these.
    case preflight(headers: [(name: String, value: String)], keepsAlive: Bool)
  }

  var limits: GatewayLimits
  var hosts: HostRule
  var origins: OriginRule

  /// - Parameters:
  ///   - checksHost: whether the listener is on loopback, where a foreign name means DNS rebinding.
  ///   - publicHost: what browsers call the server, where it isn't what the request's own Host says.
  ///   - freeBytes: what may be held besides what is held already.
  func judge(
    _ head: HTTPRequestHead, checksHost: Bool, publicHost: String? = nil, freeBytes: Int
  ) throws(RequestFault) -> Verdict {
    let headers = head.headers
    let target = RequestTarget(head.uri)
    let dialect = Dialect.of(target: target.originForm)
    guard head.uri.utf8.count <= limits.target else {
      throw fault(dialect, .targetTooLong, "The request's target is longer than \(limits.target) bytes.")
    }
    // Before anything takes these fields apart.
    guard headers["connection"].reduce(0, { $0 + $1.utf8.count }) <= limits.connectionField else {
      throw .malformed("The request's Connection header is longer than \(limits.connectionField) bytes.", dialect)
    }
    let host = try host(of: head, dialect)
    if checksHost, !hosts.allows(host) || !(target.authority.map(hosts.allows) ?? true) {
      throw fault(
        dialect, .hostNotAllowed,
        "The server does not answer to the host name '\(host)'; use localhost or its address.")
    }
    let origin = origins.verdict(
      origin: try single("origin", headers, dialect), host: publicHost ?? host, isPreflight: head.method == .OPTIONS)
    let keepsAlive = head.isKeepAlive && !head.stopsDecoder
    var corsHeaders: [(name: String, value: String)] = []
    switch origin {
    case .sameOrigin: break
    case .refused:
      throw fault(dialect, .originNotAllowed, "Pages of this origin may not use the server.")
    case .allowed(let allowed):
      if head.method == .OPTIONS { return .preflight(headers: allowed, keepsAlive: keepsAlive) }
      corsHeaders = allowed
    }

    do throws(RequestFault) {
      let route = try route(head, target, dialect)
      let (contentLength, isChunked) = try framing(head, dialect)
      let headBytes = head.bytes
      // A streamed body has any length, and little of it is held at once.
      let bodyBytes = route.body == .streamed ? 0 : contentLength ?? 0
      if bodyBytes > limits.body(for: route) { throw .bodyTooLarge(limits.body(for: route)).spoken(dialect) }
      if headBytes + bodyBytes > freeBytes { throw .memoryFull.spoken(dialect) }
      let plan = RequestPlan(
        route: route, target: target.originForm, corsHeaders: corsHeaders, headBytes: headBytes,
        contentLength: contentLength,
        isChunked: isChunked, expectsContinue: try expectsContinue(head, dialect), keepsAlive: keepsAlive,
        stopsDecoder: head.stopsDecoder, isOnLoopback: checksHost)
      return .pass(plan)
    } catch {
      var fault = error
      fault.headers += corsHeaders
      throw fault
    }
  }

  private func fault(_ dialect: Dialect, _ refusal: GatewayRefusal, _ message: String) -> RequestFault {
    RequestFault(dialect: dialect, refusal: refusal, message: message)
  }

  private func single(
    _ name: String, _ headers: HTTPHeaders, _ dialect: Dialect
  ) throws(RequestFault) -> String? {
    let values = headers[name]
    guard values.count <= 1 else { throw .malformed("The request has several \(name) headers.", dialect) }
    return values.first
  }

  private func host(of head: HTTPRequestHead, _ dialect: Dialect) throws(RequestFault) -> String {
    if let host = try single("host", head.headers, dialect) { return host }
    // RFC 9112, 3.2; HTTP/1.0 has none.
    guard head.version == .http1_0 else { throw .malformed("The request has no Host header.", dialect) }
    return ""
  }

  private func route(
    _ head: HTTPRequestHead, _ target: RequestTarget, _ dialect: Dialect
  ) throws(RequestFault) -> Route {
    switch RouteTable.pool.resolve(method: head.method.rawValue, path: target.originForm) {
    case .route(let route): return route
    case .notFound:
      throw fault(dialect, .notFound, "There is no path '\(target.originForm)' in this API.")
    case .methodNotAllowed(let allowed):
      let methods = allowed.joined(separator: ", ")
      var fault = fault(
        dialect, .methodNotAllowed, "The path '\(target.originForm)' allows \(methods) only.")
      fault.headers = [("Allow", methods)]
      throw fault
    }
  }

  /// The decoder has refused what contradicts itself; here goes what it lets through.
  private func framing(
    _ head: HTTPRequestHead, _ dialect: Dialect
  ) throws(RequestFault) -> (contentLength: Int?, isChunked: Bool) {
    let length = try single("content-length", head.headers, dialect)
    if let coding = try single("transfer-encoding", head.headers, dialect) {
      guard coding.lowercased() == "chunked", length == nil, head.version == .http1_1 else {
        throw .malformed("The request's Transfer-Encoding must be 'chunked' alone, in HTTP/1.1.", dialect)
      }
      return (nil, true)
    }
    guard let length else { return (nil, false) }
    guard let number = Int(length), number >= 0, length.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else {
      throw .malformed("The request's Content-Length '\(length)' is no number of bytes.", dialect)
    }
    return (number, false)
  }

  private func expectsContinue(_ head: HTTPRequestHead, _ dialect: Dialect) throws(RequestFault) -> Bool {
    guard head.version == .http1_1, let expectation = try single("expect", head.headers, dialect) else { return false }
    guard expectation.lowercased() == "100-continue" else {
      throw fault(dialect, .expectationFailed, "The server knows no expectation but '100-continue'.")
    }
    return true
  }
}

extension HTTPRequestHead {
  /// Whether the decoder takes what follows for another protocol, and reads no further request.
  var stopsDecoder: Bool { method == .CONNECT || headers.contains(name: "upgrade") }

  /// Of the target and the header fields.
  var bytes: Int { uri.utf8.count + headers.bytes }

  var announcesBody: Bool {
    headers.contains(name: "transfer-encoding") || headers["content-length"].contains { $0 != "0" }
  }
}

extension HTTPHeaders {
  /// Of the names and the values.
  var bytes: Int { reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count } }
}

/// A request's target, taken apart as far as needed.
struct RequestTarget {
  /// Path and query.
  let originForm: String
  /// In the absolute form: the host that the client means.
  let authority: String?

  init(_ uri: String) {
    guard !uri.utf8.starts(with: "/".utf8), let scheme = uri.firstRange(of: "://") else {
      (originForm, authority) = (uri, nil)
      return
    }
    let rest = uri[scheme.upperBound...]
    let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
    authority = String(rest[..<end])
    let path = rest[end...]
    originForm = path.first == "/" ? String(path) : "/" + path
  }
}

extension PoolError {
  static func instanceFailed(_ problem: String?) -> PoolError {
    PoolError(
      status: 502, code: "instance_failed",
      message: "The model server failed before it answered" + (problem.map { ": \($0)." } ?? "."))
  }

  package static let instanceLost = PoolError(
    status: 502, code: "instance_lost", message: "The model stopped in the middle of the answer. Please ask again.")

  package static let truncated = PoolError(
    status: 502, code: "truncated", message: "The answer ended too early. Please ask again.")
}
