/// Finds the route for a request.
package struct RouteTable: Sendable {
  /// What an Ollama server answers.
  package static let ollama = RouteTable(Route.all)
  /// What the pool answers: Ollama's API, and its own.
  package static let pool = RouteTable(Route.all + Route.own)

  private let fixed: [String: [Route]]
  /// Those whose last segment varies, by what is before it.
  private let variable: [String: [Route]]

  init(_ routes: [Route]) {
    fixed = Dictionary(grouping: routes.filter { !$0.hasVariable }, by: \.pattern)
    variable = Dictionary(grouping: routes.filter(\.hasVariable), by: \.fixedPart)
  }

  /// - Parameter path: the request target as received: percent-encoded, perhaps with a query string (ignored), perhaps
  ///   in absolute form. A variable segment is one segment and is never empty; a trailing slash is another path.
  package func resolve(method: String, path target: String) -> RouteMatch {
    guard let path = RequestPath.decoded(target) else { return .notFound }
    guard let candidates = fixed[path] ?? variableCandidates(path) else { return .notFound }
    if let route = candidates.first(where: { $0.method == method }) { return .route(route) }
    return .methodNotAllowed(allowed: candidates.map(\.method))
  }

  private func variableCandidates(_ path: String) -> [Route]? {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), path.utf8.index(after: slash) < path.utf8.endIndex
    else { return nil }
    return variable[String(path[...slash])]
  }
}

extension Route {
  fileprivate var hasVariable: Bool { pattern.utf8.contains(UInt8(ascii: ":")) }
  fileprivate var fixedPart: String { String(pattern.prefix { $0 != ":" }) }

  /// Every route of Ollama 0.33.
  package static let all: [Route] = groups.flatMap { $0 }

  private static let groups: [[Route]] = [
    route(["GET", "HEAD"], "/", .ollama, .root, .none),
    route(["GET", "HEAD"], "/api/version", .ollama, .metadata, .none),
    route(["GET"], "/api/status", .ollama, .metadata, .none),
    route(["GET", "HEAD"], "/api/tags", .ollama, .metadata, .none),
    route(["POST"], "/api/show", .ollama, .metadata, .buffered),
    route(["GET"], "/api/experimental/model-recommendations", .ollama, .metadata, .none),
    route(["GET"], "/v1/models", .openAI, .metadata, .none),
    route(["GET"], "/v1/models/:model", .openAI, .metadata, .none),
    route(["GET"], "/api/ps", .ollama, .processList, .none),
    route(["POST"], "/api/pull", .ollama, .modelManagement, .streamed),
    route(["POST"], "/api/push", .ollama, .modelManagement, .streamed),
    route(["POST"], "/api/create", .ollama, .modelManagement, .streamed),
    route(["POST"], "/api/copy", .ollama, .modelManagement, .streamed),
    route(["DELETE"], "/api/delete", .ollama, .modelManagement, .streamed),
    route(["HEAD"], "/api/blobs/:digest", .ollama, .modelManagement, .none),
    route(["POST"], "/api/blobs/:digest", .ollama, .modelManagement, .streamed),
    inference("/api/generate", .ollama, .generate, streamsByDefault: true),
    inference("/api/chat", .ollama, .chat, streamsByDefault: true),
    inference("/api/embed", .ollama, .embed, streamsByDefault: false),
    inference("/api/embeddings", .ollama, .embeddings, streamsByDefault: false),
    inference("/v1/chat/completions", .openAI, .chatCompletions, streamsByDefault: false),
    inference("/v1/completions", .openAI, .completions, streamsByDefault: false),
    inference("/v1/embeddings", .openAI, .openAIEmbeddings, streamsByDefault: false),
    inference("/v1/responses", .openAI, .responses, streamsByDefault: false),
    inference("/v1/audio/transcriptions", .openAI, .transcriptions, streamsByDefault: false),
    inference("/v1/messages", .anthropic, .messages, streamsByDefault: false),
    route(["POST"], "/api/me", .ollama, .account, .streamed),
    route(["POST"], "/api/signout", .ollama, .account, .streamed),
    route(["DELETE"], "/api/user/keys/:key", .ollama, .account, .streamed),
    route(["POST"], "/api/experimental/web_search", .ollama, .account, .streamed),
    route(["POST"], "/api/experimental/web_fetch", .ollama, .account, .streamed),
  ]

  static func route(
    _ methods: [String], _ pattern: String, _ dialect: Dialect, _ kind: Kind, _ body: BodyHandling
  ) -> [Route] {
    methods.map { Route(method: $0, pattern: pattern, dialect: dialect, kind: kind, body: body) }
  }

  private static func inference(
    _ pattern: String, _ dialect: Dialect, _ endpoint: InferenceEndpoint, streamsByDefault: Bool
  ) -> [Route] {
    route(
      ["POST"], pattern, dialect, .inference(streamsByDefault: streamsByDefault, endpoint: endpoint), .buffered)
  }
}
