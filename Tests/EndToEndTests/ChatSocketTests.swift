import Foundation
import TestSupport
import Testing

/// `/chat/ws`, and places in the streams of other APIs.
@Suite(.serialized) struct ChatSocketTests {
  private static let slow = Pool.Setup(simulator: ["TOKENS": "20", "TOKENS_PER_SECOND": "20"])

  @Test(
    "many questions over one connection, cancelling, coming back, and what breaks the rules",
    .enabled("needs the Python package websockets: see PythonEnvironment") {
      await PythonEnvironment.isReady(for: "websockets")
    })
  func webSocket() async throws {
    try await withPool(Self.slow) { pool in
      _ = try await pool.instancePort()
      let script = PackageRoot.path(to: "Tests/EndToEndTests/chat_socket.py")
      let result = try await run(
        PythonEnvironment.interpreter, ["-B", script, String(pool.port)], within: .seconds(120))
      #expect(result.end == .exited(0), "\(result.output) \(result.errorOutput)")
      try await pool.expectIdle()
    }
  }

  @Test("What is no WebSocket is told so, and one without a key of its own is refused")
  func handshake() async throws {
    try await withPool { pool in
      _ = try await pool.instancePort()
      #expect(try await pool.get("/chat/ws").status == 426)
      let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
      #expect(try await pool.get("/chat/ws", headers: upgrade + [("Sec-WebSocket-Version", "13")]).status == 400)
      let key = [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
      let old = try await pool.get("/chat/ws", headers: upgrade + key + [("Sec-WebSocket-Version", "8")])
      #expect(old.status == 400 && old.head["Sec-WebSocket-Version"] == "13")
      let probe = try await HTTPProbe.connect(port: pool.port)
      try await probe.send("GET", "/chat/ws", headers: upgrade + key + [("Sec-WebSocket-Version", "13")])
      let head = try await probe.head()
      // The example of RFC 6455, 1.3.
      #expect(head.status == 101 && head["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
      // `{}` in a frame that is not masked.
      try await probe.send(raw: [0x81, 0x02, 0x7B, 0x7D])
      #expect(try await probe.readUntilClosed().contains("frames of clients are masked"))
    }
  }

  private static let messages =
    #""model":"llama3.2","stream":true,"max_tokens":20,"messages":[{"role":"user","content":"a"}]"#

  @Test(
    "Streams of OpenAI's and Anthropic's API tell the place in comments, where they are asked to",
    arguments: ["/v1/chat/completions", "/v1/messages"])
  func progress(path: String) async throws {
    try await withPool(Self.slow) { pool in
      let first = try await ChatUser(pool).ask("one")
      try await first.next(until: { $0.type == "token" })
      let wanting = [("X-Pool-Progress", "1")]
      let asking = try await HTTPProbe.connect(port: pool.port)
      try await asking.send("POST", path, headers: wanting, body: "{\(Self.messages)}")
      let head = try await asking.head()
      #expect(head.status == 200 && head["Content-Type"] == "text/event-stream", "before there is an answer")
      let place = try #require(try await asking.piece()).text
      #expect(place.hasPrefix(#": {"position":2,"eta_seconds":"#) && place.hasSuffix("}\n\n"), "\(place)")
      try await first.finish()
      var text = ""
      while let piece = try await asking.piece(within: .seconds(30)) { text += piece.text }
      #expect(text.contains(path == "/v1/messages" ? "event: message_stop" : "data: [DONE]"), "\(text)")
      #expect(text.contains("data: {"))

      // Who does not ask gets the instance's own answer, and nothing before it.
      let plain = try await pool.post(path, "{\(Self.messages)}")
      #expect(plain.status == 200 && !plain.text.contains(": {\"position\""))
    }
  }

  @Test("A failure behind the place is an error in the stream")
  func failureBehindProgress() async throws {
    try await withPool(Self.slow) { pool in
      let first = try await ChatUser(pool).ask("one")
      try await first.next(until: { $0.type == "token" })
      let wanting = [("X-Pool-Progress", "1")]
      let unknown = try await HTTPProbe.connect(port: pool.port)
      try await unknown.send(
        "POST", "/v1/chat/completions", headers: wanting,
        body: #"{"model":"nope","stream":true,"messages":[{"role":"user","content":"a"}]}"#)
      let cancelled = try await HTTPProbe.connect(port: pool.port)
      try await cancelled.send("POST", "/v1/messages", headers: wanting, body: "{\(Self.messages)}")
      #expect(try await unknown.head().status == 200)
      #expect(try await cancelled.head().status == 200)
      let id = try #require(
        try await ChatUser(pool).send("GET", "/queue").text.matches(of: /"request_id":"(\d+)"/).last?.output.1)
      #expect(try await pool.command("queue", "cancel", String(id)).end == .exited(0))
      var text = ""
      while let piece = try await cancelled.piece(within: .seconds(30)) { text += piece.text }
      #expect(text.contains("event: error\ndata: {\"type\":\"error\""), "\(text)")
      try await first.finish()
      text = ""
      while let piece = try await unknown.piece(within: .seconds(30)) { text += piece.text }
      #expect(text.contains("data: {\"error\":{") && text.contains("nope"), "\(text)")
    }
  }
}
