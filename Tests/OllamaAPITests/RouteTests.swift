import Testing

import OllamaAPI

@Suite struct RouteTests {
  struct Expectation: CustomTestStringConvertible {
    let method: String
    let path: String
    let dialect: Dialect
    let kind: Route.Kind
    let body: Route.BodyHandling
    var testDescription: String { "\(method) \(path)" }
  }

  static let routes: [Expectation] = [
    .init(method: "GET", path: "/", dialect: .ollama, kind: .root, body: .none),
    .init(method: "HEAD", path: "/", dialect: .ollama, kind: .root, body: .none),
    .init(method: "GET", path: "/api/version", dialect: .ollama, kind: .metadata, body: .none),
    .init(method: "HEAD", path: "/api/version", dialect: .ollama, kind: .metadata, body: .none),
    .init(method: "GET", path: "/api/status", dialect: .ollama, kind: .metadata, body: .none),
    .init(method: "GET", path: "/api/tags", dialect: .ollama, kind: .metadata, body: .none),
    .init(method: "HEAD", path: "/api/tags", dialect: .ollama, kind: .metadata, body: .none),
    .init(method: "POST", path: "/api/show", dialect: .ollama, kind: .metadata, body: .buffered),
    .init(method: "GET", path: "/api/ps", dialect: .ollama, kind: .processList, body: .none),
    .init(method: "POST", path: "/api/pull", dialect: .ollama, kind: .modelManagement, body: .streamed),
    .init(method: "POST", path: "/api/push", dialect: .ollama, kind: .modelManagement, body: .streamed),
    .init(method: "POST", path: "/api/create", dialect: .ollama, kind: .modelManagement, body: .streamed),
    .init(method: "POST", path: "/api/copy", dialect: .ollama, kind: .modelManagement, body: .streamed),
    .init(method: "DELETE", path: "/api/delete", dialect: .ollama, kind: .modelManagement, body: .streamed),
    .init(method: "HEAD", path: "/api/blobs/sha256:ab", dialect: .ollama, kind: .modelManagement, body: .none),
    .init(method: "POST", path: "/api/blobs/sha256:ab", dialect: .ollama, kind: .modelManagement, body: .streamed),
    .init(
      method: "POST", path: "/api/generate", dialect: .ollama,
      kind: .inference(streamsByDefault: true, endpoint: .generate), body: .buffered),
    .init(
      method: "POST", path: "/api/chat", dialect: .ollama, kind: .inference(streamsByDefault: true, endpoint: .chat),
      body: .buffered),
    .init(
      method: "POST", path: "/api/embed", dialect: .ollama, kind: .inference(streamsByDefault: false, endpoint: .embed),
      body: .buffered),
    .init(
      method: "POST", path: "/api/embeddings", dialect: .ollama,
      kind: .inference(streamsByDefault: false, endpoint: .embeddings), body: .buffered),
    .init(
      method: "POST", path: "/v1/chat/completions", dialect: .openAI,
      kind: .inference(streamsByDefault: false, endpoint: .chatCompletions), body: .buffered),
    .init(
      method: "POST", path: "/v1/completions", dialect: .openAI,
      kind: .inference(streamsByDefault: false, endpoint: .completions), body: .buffered),
    .init(
      method: "POST", path: "/v1/embeddings", dialect: .openAI,
      kind: .inference(streamsByDefault: false, endpoint: .openAIEmbeddings), body: .buffered),
    .init(
      method: "POST", path: "/v1/responses", dialect: .openAI,
      kind: .inference(streamsByDefault: false, endpoint: .responses), body: .buffered),
    .init(
      method: "POST", path: "/v1/audio/transcriptions", dialect: .openAI,
      kind: .inference(streamsByDefault: false, endpoint: .transcriptions), body: .buffered),
    .init(method: "GET", path: "/v1/models", dialect: .openAI, kind: .metadata, body: .none),
    .init(method: "GET", path: "/v1/models/llama3.2:latest", dialect: .openAI, kind: .metadata, body: .none),
    .init(
      method: "POST", path: "/v1/messages", dialect: .anthropic,
      kind: .inference(streamsByDefault: false, endpoint: .messages), body: .buffered),
    .init(method: "POST", path: "/api/me", dialect: .ollama, kind: .account, body: .streamed),
    .init(method: "POST", path: "/api/signout", dialect: .ollama, kind: .account, body: .streamed),
    .init(method: "DELETE", path: "/api/user/keys/abc", dialect: .ollama, kind: .account, body: .streamed),
    .init(method: "POST", path: "/api/experimental/web_search", dialect: .ollama, kind: .account, body: .streamed),
    .init(method: "POST", path: "/api/experimental/web_fetch", dialect: .ollama, kind: .account, body: .streamed),
    .init(
      method: "GET", path: "/api/experimental/model-recommendations", dialect: .ollama, kind: .metadata, body: .none),
  ]

  @Test(arguments: routes) func `every route of Ollama is known`(_ expected: Expectation) throws {
    let route = try #require(self.route(expected.method, expected.path))
    #expect(route.dialect == expected.dialect)
    #expect(route.kind == expected.kind)
    #expect(route.body == expected.body)
    #expect(route.method == expected.method)
    #expect(Dialect.of(path: expected.path) == expected.dialect)
  }

  @Test func `the table has no route beside those`() {
    #expect(Route.all.count == Self.routes.count)
  }

  @Test(arguments: [
    ("PUT", "/api/chat", ["POST"]), ("GET", "/api/chat", ["POST"]), ("POST", "/api/tags", ["GET", "HEAD"]),
    ("POST", "/", ["GET", "HEAD"]), ("GET", "/api/delete", ["DELETE"]), ("get", "/api/tags", ["GET", "HEAD"]),
    ("GET", "/api/blobs/sha256:1", ["HEAD", "POST"]), ("HEAD", "/v1/models", ["GET"]),
  ])
  func `a wrong method is told the right ones`(method: String, path: String, allowed: [String]) {
    #expect(RouteTable.ollama.resolve(method: method, path: path) == .methodNotAllowed(allowed: allowed))
  }

  @Test(arguments: [
    "/api/tags/", "/api/nothing", "//api/tags", "/v1/models/", "/v1/models/a/b", "/api/blobs/", "/API/tags", "", "*",
    "api/tags", "/api/%zz", "/api/tags%2", "/api/%ff", "ftp://host/api/tags",
  ])
  func `what is no path of Ollama is not found`(path: String) {
    #expect(RouteTable.ollama.resolve(method: "GET", path: path) == .notFound)
  }

  @Test(arguments: [
    "/api/tags?x=/api/ps", "/api%2ftags", "/%61pi/t%61gs", "http://pool:11434/api/tags", "https://h/api/tags?q#f",
  ])
  func `query, encoding and absolute form change nothing`(path: String) throws {
    #expect(try #require(route("GET", path)).pattern == "/api/tags")
  }

  @Test func `an absolute form without a path is the root`() throws {
    #expect(try #require(route("GET", "http://pool")).kind == .root)
    #expect(try #require(route("GET", "http://pool?x=/api/tags")).kind == .root)
  }

  @Test(arguments: [
    ("/v1/nothing", Dialect.openAI), ("/v1", .openAI), ("/v1?x", .openAI), ("/v1/messages/count_tokens", .anthropic),
    ("/v1/messages?beta=true", .anthropic), ("/v1/messagesx", .openAI), ("/v1x", .ollama), ("/x", .ollama),
    ("", .ollama), ("/api/v1/messages", .ollama),
  ])
  func `an unknown path has the dialect of its prefix`(path: String, dialect: Dialect) {
    #expect(Dialect.of(path: path) == dialect)
  }

  @Test func `the body's stream overrules the route's default`() throws {
    let chat = try #require(route("POST", "/api/chat"))
    #expect(chat.streams(nil))
    #expect(!chat.streams(RequestFields(stream: false)))
    let completions = try #require(route("POST", "/v1/chat/completions"))
    #expect(!completions.streams(RequestFields()))
    #expect(completions.streams(RequestFields(stream: true)))
    let embed = try #require(route("POST", "/api/embed"))
    #expect(!embed.streams(RequestFields(stream: true)))
  }

  @Test func `the format of an answer follows its content type`() throws {
    let chat = try #require(route("POST", "/api/chat"))
    let pull = try #require(route("POST", "/api/pull"))
    let openAI = try #require(route("POST", "/v1/chat/completions"))
    let anthropic = try #require(route("POST", "/v1/messages"))
    #expect(StreamFormat.of(chat, status: 200, contentType: "application/x-ndjson") == .generation)
    #expect(StreamFormat.of(chat, status: 200, contentType: "application/json; charset=utf-8") == .wholeMessage)
    #expect(StreamFormat.of(chat, status: 200, contentType: nil) == .wholeMessage)
    #expect(StreamFormat.of(chat, status: 500, contentType: "application/x-ndjson") == .wholeMessage)
    #expect(StreamFormat.of(pull, status: 200, contentType: "application/x-ndjson") == .progress)
    #expect(StreamFormat.of(openAI, status: 200, contentType: "Text/Event-Stream; charset=utf-8") == .openAIEvents)
    #expect(StreamFormat.of(anthropic, status: 200, contentType: "text/event-stream") == .anthropicEvents)
  }

  private func route(_ method: String, _ path: String) -> Route? {
    if case .route(let route) = RouteTable.ollama.resolve(method: method, path: path) { return route }
    return nil
  }
}
