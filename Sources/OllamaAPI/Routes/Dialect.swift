/// The API that a caller speaks; it decides the shape of errors and of streams.
package enum Dialect: String, Sendable, Hashable, CaseIterable {
  /// Ollama's own: `/api/…`, and whatever is neither of the others.
  case ollama
  /// OpenAI's: `/v1/…`.
  case openAI
  /// Anthropic's: `/v1/messages…`.
  case anthropic
  /// The pool's own: `/chat…`, `/queue…`, `/openapi.yaml`.
  case pool

  /// The dialect in which to answer for a request's target, known or not.
  package static func of(target: String) -> Dialect { of(path: RequestPath.decoded(target) ?? target) }

  /// The dialect in which to answer for `path`, known or not. A query string is ignored.
  package static func of(path: some StringProtocol) -> Dialect {
    let bytes = path.utf8
    if has(prefix: "/v1/messages", bytes) { return .anthropic }
    if has(prefix: "/v1", bytes) { return .openAI }
    if has(prefix: "/chat", bytes) || has(prefix: "/queue", bytes) || has(prefix: "/openapi.yaml", bytes) {
      return .pool
    }
    return .ollama
  }

  /// Whether `path` is `prefix`, or continues it with a new segment or a query.
  private static func has(prefix: StaticString, _ path: some Collection<UInt8>) -> Bool {
    prefix.withUTF8Buffer { wanted in
      guard path.starts(with: wanted) else { return false }
      guard let next = path.dropFirst(wanted.count).first else { return true }
      return next == UInt8(ascii: "/") || next == UInt8(ascii: "?")
    }
  }
}
