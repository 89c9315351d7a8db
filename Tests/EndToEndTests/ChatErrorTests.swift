import Foundation
import TestSupport
import Testing

/// What somebody hears whose request of the chat is wrong: a status, a code, and words that help.
@Suite(.serialized) struct ChatErrorTests {
  private struct Refusal {
    var method = "POST"
    var path = "/chat/stream"
    var body = ""
    var headers: [(String, String)] = []
    let status: Int
    let code: String
    /// What the error says among other things.
    let words: String
  }

  private static let refusals: [Refusal] = [
    Refusal(status: 400, code: "malformed_request", words: "is no JSON"),
    Refusal(body: "hello", status: 400, code: "malformed_request", words: "is no JSON. The body has to be {"),
    Refusal(body: #"["hello"]"#, status: 400, code: "malformed_request", words: "no JSON object"),
    Refusal(body: "{}", status: 400, code: "malformed_request", words: "'message' is missing"),
    Refusal(body: #"{"message":7}"#, status: 400, code: "malformed_request", words: "'message' is of the wrong type"),
    Refusal(body: "{\"message\":\" \\n\"}", status: 400, code: "empty_message", words: "no question"),
    Refusal(
      body: #"{"message":"a","priority":1.5}"#, status: 400, code: "malformed_request", words: "a whole number from 0"),
    Refusal(body: #"{"message":"a","priority":100}"#, status: 400, code: "malformed_request", words: "to 99."),
    Refusal(
      body: #"{"message":"a","idempotency_key":""}"#, status: 400, code: "malformed_request",
      words: "1 to 128 characters"),
    Refusal(body: #"{"message":"a"}"#, status: 400, code: "model_needed", words: "There are: "),
    Refusal(body: #"{"message":"a","model":"nope"}"#, status: 404, code: "model_not_found", words: "no model 'nope'"),
    Refusal(
      body: #"{"message":"a","model":"nomic-embed-text"}"#, status: 400, code: "model_cannot_chat",
      words: "can't chat. These can: "),
    Refusal(
      body: #"{"message":"\#(String(repeating: "a", count: 1 << 20))"}"#, status: 413, code: "body_too_large",
      words: "1048576 bytes"),
    Refusal(method: "GET", status: 405, code: "method_not_allowed", words: "allows POST only"),
    Refusal(method: "GET", path: "/chat/stream/nobodys", status: 404, code: "not_found", words: "nothing of that name"),
    Refusal(
      method: "DELETE", path: "/chat/requests/nobodys", status: 404, code: "not_found", words: "nothing of that name"),
    Refusal(method: "GET", path: "/queue/nobodys", status: 404, code: "not_found", words: "No such request"),
    Refusal(method: "GET", path: "/chat/nothing", status: 404, code: "not_found", words: "nothing of that name"),
    Refusal(method: "GET", path: "/chat/ws", status: 426, code: "websocket_needed", words: "Upgrade: websocket"),
    Refusal(
      method: "GET", path: "/chat/ws", headers: [("Upgrade", "websocket"), ("Connection", "Upgrade")], status: 400,
      code: "malformed_request", words: "Sec-WebSocket-Key"),
    Refusal(path: "/chat/session", body: "{}", status: 400, code: "malformed_request", words: "sk-pool-"),
    Refusal(
      path: "/chat/session", body: #"{"key":"sk-pool-x"}"#, status: 401, code: "unauthenticated", words: "not known"),
  ]

  @Test("Whatever is wrong is told by status, code and words")
  func refusals() async throws {
    try await withPool { pool in
      for refusal in Self.refusals {
        let answer = try await HTTPProbe.exchange(
          refusal.method, refusal.path, port: pool.port, headers: refusal.headers + [("Accept-Language", "en")],
          body: refusal.body)
        let what = "\(refusal.method) \(refusal.path) \(refusal.body.prefix(60)): \(answer.text)"
        #expect(answer.status == refusal.status && answer.object["code"] as? String == refusal.code, "\(what)")
        #expect((answer.object["error"] as? String)?.contains(refusal.words) == true, "\(what)")
      }
    }
  }

  @Test("Italian without Accept-Language, with the same codes: as an answer, in a stream and over the WebSocket")
  func italian() async throws {
    var setup = Pool.Setup(settings: "classes: {standard: {concurrent: 1}}")
    setup.simulator = ["TOKENS": "1000", "TOKENS_PER_SECOND": "20"]
    try await withPool(setup) { pool in
      for (body, code, words) in [
        ("", "malformed_request", "Il corpo non è JSON. Il corpo dev'essere {"),
        (#"{"message":7}"#, "malformed_request", "'message' è del tipo sbagliato"),
        (#"{"message":" "}"#, "empty_message", "nessuna domanda"),
        (#"{"message":"a"}"#, "model_needed", "Ci sono: "),
        (#"{"message":"a","model":"nope"}"#, "model_not_found", "Non c'è nessun modello 'nope'. Ci sono: "),
      ] {
        let answer = try await pool.post("/chat/stream", body, headers: [("Accept-Language", "it-IT, en;q=0.5")])
        #expect(answer.object["code"] as? String == code)
        #expect((answer.object["error"] as? String)?.contains(words) == true, "\(answer.text)")
      }
      let running = try await ChatUser(pool).ask("long")
      try await running.next(until: { $0.type == "token" })
      let refused = try await pool.post("/chat/stream", #"{"message":"a","model":"llama3.2"}"#)
      #expect(refused.status == 429 && refused.object["code"] as? String == "too_many_concurrent")
      #expect((refused.object["error"] as? String)?.hasPrefix("Hai già tutte le richieste aperte") == true)
      let request = try #require(try await pool.requests.first)
      #expect(try await pool.command("queue", "cancel", String(request.id)).end == .exited(0))
      try await running.finish()
      let end = running.events.last
      #expect(end?.code == "cancelled" && end?.error == "Chi gestisce questo server ha annullato la richiesta.")
    }
  }

  @Test("A cookie that is forged, and somebody else's session, are as good as none")
  func sessions() async throws {
    try await withPool(Pool.Setup(settings: "chat:\n  default_model: llama3.2")) { pool in
      let answer = try await pool.post("/chat/stream", #"{"message":"mine"}"#)
      let cookie = try #require(answer.head["Set-Cookie"]?.prefix { $0 != ";" })
      let request = try #require(answer.head["X-Request-Id"])
      let others = try await pool.post("/chat/stream", #"{"message":"theirs"}"#)
      let other = try #require(others.head["Set-Cookie"]?.prefix { $0 != ";" })
      for (cookie, isOwner) in [(String(cookie), true), (String(other), false), (cookie.dropLast() + "~", false)] {
        let history = try await pool.get("/chat/history", headers: [("Cookie", cookie)])
        #expect(history.status == 200 && history.text.contains("mine") == isOwner, "\(cookie)")
      }
      for (cookie, status) in [(cookie, 200), (other, 404)] {
        let headers = [("Cookie", String(cookie))]
        #expect(try await pool.get("/chat/stream/\(request)", headers: headers).status == status)
        let end = try await HTTPProbe.exchange(
          "DELETE", "/chat/requests/\(request)", port: pool.port, headers: headers)
        #expect(end.status == (status == 200 ? 204 : 404))
      }
    }
  }

  @Test("Models that only embed are not offered; one that chats alone needs no name")
  func models() async throws {
    try await withPool { pool in
      let session = try await pool.get("/chat/session").object
      #expect((session["models"] as? [String])?.sorted() == ["llama3.2:latest", "qwen3:0.6b"])
      #expect(session["sign_out"] as? Bool == false && session["default_model"] is NSNull)
      let deleted = try await HTTPProbe.exchange(
        "DELETE", "/api/delete", port: pool.port, body: #"{"model":"qwen3:0.6b"}"#)
      #expect(deleted.status == 200)
      try await eventually(within: .seconds(15), "the list is looked at again") {
        try await pool.get("/chat/session").object["default_model"] as? String == "llama3.2:latest"
      }
      #expect(ChatEvent.all(in: try await pool.post("/chat/stream", #"{"message":"a"}"#).text).last?.type == "done")
    }
  }
}
