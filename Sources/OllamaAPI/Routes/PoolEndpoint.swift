/// What the pool itself answers, beside Ollama's API.
package enum PoolEndpoint: Sendable, Hashable, CaseIterable {
  /// A file of the chat page.
  case page
  /// Asks a question; the answer comes as events.
  case ask
  /// The events of a question that was asked before.
  case follow
  /// Questions and events over a WebSocket.
  case socket
  case cancel
  case history, forgetHistory
  case session, signIn, signOut
  /// What waits, and how long.
  case queue
  /// The place of one request.
  case place
  /// The description of all this, in OpenAPI.
  case document
}

extension Route {
  /// Every route of the pool's own.
  package static let own: [Route] = [
    pool(["GET", "HEAD"], "/chat", .page),
    pool(["GET", "HEAD"], "/chat/:file", .page),
    pool(["POST"], "/chat/stream", .ask),
    pool(["GET"], "/chat/stream/:request", .follow),
    pool(["GET"], "/chat/ws", .socket),
    pool(["DELETE"], "/chat/requests/:request", .cancel),
    pool(["GET"], "/chat/history", .history),
    pool(["DELETE"], "/chat/history", .forgetHistory),
    pool(["GET"], "/chat/session", .session),
    pool(["POST"], "/chat/session", .signIn),
    pool(["DELETE"], "/chat/session", .signOut),
    pool(["GET"], "/queue", .queue),
    pool(["GET"], "/queue/:request", .place),
    pool(["GET", "HEAD"], "/openapi.yaml", .document),
  ].flatMap { $0 }

  private static func pool(_ methods: [String], _ pattern: String, _ endpoint: PoolEndpoint) -> [Route] {
    let body: BodyHandling = [.ask, .signIn].contains(endpoint) ? .buffered : .none
    return route(methods, pattern, .pool, .pool(endpoint), body)
  }

  /// What the path has in place of the pattern's variable segment, percent-decoded; nil where it has none.
  package func variable(in target: String) -> String? {
    guard pattern.utf8.contains(UInt8(ascii: ":")), let path = RequestPath.decoded(target),
      let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
    else { return nil }
    return String(path[path.utf8.index(after: slash)...])
  }

  /// The longest body, in bytes; nil for the operator's limit. A question is text that somebody typed or pasted.
  package var bodyLimit: Int? {
    if case .pool = kind { 1 << 20 } else { nil }
  }
}
