import OllamaAPI
import PoolConfiguration
import QueueStore
import TestSupport
import Testing

@testable import Dispatcher

/// What questions that are refused, and requests that are wrong, leave behind: nothing.
@Suite(.timeLimit(.minutes(2)))
struct ChatTraceTests {
  private static let question = #"{"message":"hello","model":"m"}"#
  private static let models = #"{"models":[{"name":"m"}]}"#
  /// Of the question, once it is put to an instance.
  private static let tokens = QuestionTokens.count(
    #"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}"#.utf8, isJSON: true)

  @Test(arguments: ["too_many_concurrent", "too_many_waiting", "rate_limited", "token_limited", "queue_full"])
  func whatALimitForbidsIsNotEvenWritten(_ code: String) async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    try await DispatcherRig.run {
      $0.queue.requests = 1
    } options: {
      $0.stateFolder = state.path
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key =
        switch code {
        case "too_many_concurrent": try await rig.addKey("shop", concurrent: 2)
        case "too_many_waiting": try await rig.addKey("shop", waiting: 1)
        case "rate_limited": try await rig.addKey("shop", requestsPerHour: 2)
        case "token_limited": try await rig.addKey("shop", tokensPerHour: Self.tokens + 1)
        default: try await rig.addKey("shop")
        }
      let running = try await rig.send("POST", "/chat/stream", key: key, body: Self.question)
      try await gpu0.ask(0).answer(Self.models)
      #expect(try await running.head().status == 200)
      _ = try await gpu0.ask(1)
      try await eventually("what it uses is written down") {
        try await files.read().usage.map(\.tokens).reduce(0, +) == Self.tokens
      }
      let waiting = try await rig.send("POST", "/chat/stream", key: key, body: Self.question)
      #expect(try await waiting.head().status == 200)
      try await eventually("what both use is written down") {
        try await files.read().usage.map(\.requests).reduce(0, +) == 2
      }

      let before = files.bytes
      for _ in 0..<20 {
        let refused = try await rig.send("POST", "/chat/stream", key: key, body: Self.question).answer()
        #expect(refused.status == (code == "queue_full" ? 503 : 429))
        #expect(refused.text.contains(#""code":"\#(code)""#), "\(refused.text)")
        #expect(refused.head["Retry-After"] != nil && refused.head["Set-Cookie"] == nil)
      }
      #expect(files.bytes == before)
      let stored = try await files.read()
      #expect(stored.sessions.count == 2 && stored.requests.count == 2)
      #expect(try await rig.metric("ollama_pool_refusals_total{reason=\"\(code)\"}") == 20)
      try await rig.waitForDepth(1)
    }
  }

  @Test func whatIsRefusedOnlyOnceItIsWrittenLeavesNoTrace() async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key = try await rig.addKey("shop", concurrent: 1)
      // All of them wait for the list, and are there at the same moment.
      var clients: [HTTPProbe] = []
      for _ in 0..<20 { clients.append(try await rig.send("POST", "/chat/stream", key: key, body: Self.question)) }
      try await gpu0.ask(0).answer(Self.models)
      var statuses: [Int] = []
      for client in clients { statuses.append(try await client.head().status) }
      #expect(statuses.sorted() == [200] + Array(repeating: 429, count: 19))
      try await eventually("what was refused is gone") {
        let stored = try await files.read()
        return stored.sessions.count == 1 && stored.requests.count == 1
      }
    }
  }

  @Test func whatIsNoQuestionMakesNoSession() async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let unknown = try await rig.send("POST", "/chat/stream", body: #"{"message":"a","model":"nope"}"#)
      try await gpu0.ask(0).answer(Self.models)
      #expect(try await unknown.answer().status == 404)
      let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
      for (method, path, headers, body, status) in [
        ("GET", "/chat/ws", [], "", 426), ("GET", "/chat/ws", upgrade, "", 400),
        ("GET", "/chat/ws", upgrade + [("Sec-WebSocket-Version", "13")], "", 400),
        ("POST", "/chat/stream", [], "", 400), ("POST", "/chat/stream", [], "{}", 400),
        ("POST", "/chat/stream", [], #"{"message":" "}"#, 400), ("GET", "/chat/stream/nobodys", [], "", 404),
        ("DELETE", "/chat/requests/nobodys", [], "", 404), ("GET", "/chat/history", [], "", 200),
        ("DELETE", "/chat/history", [], "", 204), ("GET", "/chat/session", [], "", 200),
        ("POST", "/chat/session", [], "{}", 400), ("POST", "/chat/session", [], #"{"key":"sk-pool-no"}"#, 401),
        ("DELETE", "/chat/session", [], "", 204), ("GET", "/chat", [], "", 200), ("GET", "/chat/nothing", [], "", 404),
        ("PUT", "/chat/stream", [], "", 405),
      ] as [(String, String, [(String, String)], String, Int)] {
        let answer = try await rig.send(method, path, headers: headers, body: body).answer()
        #expect(answer.status == status, "\(method) \(path) \(body): \(answer.text)")
      }
      #expect(try await files.read().sessions.isEmpty)

      let socket = try await rig.connect()
      try await socket.send(
        "GET", "/chat/ws",
        headers: upgrade + [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
      #expect(try await socket.head().status == 101)
      #expect(try await rig.get("/chat/history").status == 200, "what was to be written is")
      #expect(try await files.read().sessions.isEmpty)
    }
  }
}
