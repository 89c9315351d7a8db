import Foundation
import TestSupport
import Testing

/// What the pool refuses: with the right status, in the caller's dialect, and without losing a slot.
@Suite(.serialized) struct RefusalTests {
  private enum Dialect: String, CaseIterable {
    case ollama = "/api/chat"
    case openAI = "/v1/chat/completions"
    case anthropic = "/v1/messages"

    var path: String { rawValue }
    func body(_ more: String = "") -> String {
      #"{"model":"llama3.2","max_tokens":9,"messages":[{"role":"user","content":"hello"}]\#(more)}"#
    }

    /// The message, if the error has this dialect's shape and type.
    func message(_ answer: HTTPProbe.Answer, type: (openAI: String, anthropic: String)) -> String? {
      let object = answer.object
      let error = object["error"] as? [String: Any]
      switch self {
      case .ollama: return object["error"] as? String
      case .openAI: return error?["type"] as? String == type.openAI ? error?["message"] as? String : nil
      case .anthropic:
        guard object["type"] as? String == "error", error?["type"] as? String == type.anthropic else { return nil }
        return error?["message"] as? String
      }
    }
  }

  @Test("A full queue refuses with 503 and Retry-After in each dialect, and one place less is free when it is taken")
  func queueFull() async throws {
    var setup = Pool.Setup()
    setup.settings = """
      queue:
        requests: 1
      """
    try await withPool(setup) { pool in
      let served = try await pool.openStream(tokens: 100_000)
      try await pool.status(until: "one is served") { $0.inFlight == 1 }
      let waiting = try await pool.openStream(tokens: 8)
      try await pool.status(until: "one waits") { $0.queueDepth == 1 }
      for dialect in Dialect.allCases {
        let refused = try await pool.post(dialect.path, dialect.body())
        #expect(refused.status == 503, "\(dialect)")
        #expect(Int(refused.head["Retry-After"] ?? "") ?? 0 > 0, "\(dialect)")
        #expect(
          dialect.message(refused, type: ("overloaded_error", "overloaded_error"))?.isEmpty == false, "\(refused.text)")
      }
      // What does not wait for a slot is answered all the same.
      #expect(try await pool.get("/api/tags").status == 200)
      await served.close()
      #expect(try await waiting.answer().text.contains(#""done":true"#))
      try await pool.expectIdle()
      #expect(try await pool.metric("ollama_pool_refusals_total", #"reason="queue_full""#) == 3)
    }
  }

  @Test("A body that is too large gets 413 in each dialect, announced or in chunks")
  func largeBody() async throws {
    var setup = Pool.Setup()
    setup.settings = """
      queue:
        request_body: 4096
      """
    try await withPool(setup) { pool in
      for dialect in Dialect.allCases {
        let body = dialect.body(#","padding":"\#(String(repeating: "x", count: 5000))""#)
        let announced = try await pool.post(dialect.path, body)
        #expect(announced.status == 413, "\(dialect)")
        #expect(
          dialect.message(announced, type: ("invalid_request_error", "request_too_large"))?.contains("4096") == true,
          "\(announced.text)")
        let chunk = String(body.utf8.count, radix: 16) + "\r\n" + body + "\r\n0\r\n\r\n"
        let chunked = try await HTTPProbe.exchange(
          "POST", dialect.path, port: pool.port, headers: [("Transfer-Encoding", "chunked")], body: chunk)
        #expect(chunked.status == 413, "\(dialect)")
      }
      // Models may be larger.
      let blob = try await pool.post(
        "/api/blobs/sha256:\(String(repeating: "0", count: 64))", String(repeating: "x", count: 100_000))
      #expect(blob.status == 400 && blob.text.contains("digest mismatch"), "\(blob.status) \(blob.text)")
      try await expectServing(pool)
    }
  }

  @Test("Unknown paths and methods, foreign hosts and origins are refused; pages of this machine are not")
  func heads() async throws {
    try await withPool { pool in
      func send(_ method: String, _ path: String, _ headers: (String, String)...) async throws -> HTTPProbe.Answer {
        try await HTTPProbe.exchange(method, path, port: pool.port, headers: headers)
      }
      for (path, dialect) in [
        ("/api/nope", Dialect.ollama), ("/nope", .ollama), ("/v1/nope", .openAI), ("/v1/messages/nope", .anthropic),
        ("/api/chat/", .ollama), ("/api/../api/chat", .ollama),
      ] {
        let answer = try await send("POST", path)
        #expect(answer.status == 404, "\(path)")
        #expect(dialect.message(answer, type: ("not_found_error", "not_found_error")) != nil, "\(path): \(answer.text)")
      }
      for dialect in Dialect.allCases {
        for method in ["GET", "DELETE", "PATCH", "BREW"] {
          let answer = try await send(method, dialect.path)
          // What is no method of HTTP's may as well be malformed.
          #expect(answer.status == 405 || (method == "BREW" && answer.status == 400), "\(method) \(dialect.path)")
          if answer.status == 405 { #expect(answer.head["Allow"] == "POST") }
          let type = ("invalid_request_error", "invalid_request_error")
          if method != "BREW" { #expect(dialect.message(answer, type: type) != nil, "\(answer.text)") }
        }
        let type = ("permission_error", "permission_error")
        let host = try await send("POST", dialect.path, ("Host", "evil.example.com"))
        #expect(host.status == 403 && dialect.message(host, type: type) != nil, "\(host.text)")
        let origin = try await send("POST", dialect.path, ("Origin", "https://evil.example.com"))
        #expect(origin.status == 403 && dialect.message(origin, type: type) != nil, "\(origin.text)")
        #expect(origin.head["Access-Control-Allow-Origin"] == nil)
      }
      for host in ["localhost", "localhost:\(pool.port)", "127.0.0.1", "[::1]:80", "gpu-box.local"] {
        #expect(try await send("GET", "/api/version", ("Host", host)).status == 200, "\(host)")
      }

      let preflight = try await send(
        "OPTIONS", "/api/chat", ("Origin", "http://localhost:3000"), ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"))
      #expect(preflight.status == 204)
      #expect(preflight.head["Access-Control-Allow-Origin"] == "http://localhost:3000")
      #expect(preflight.head["Access-Control-Allow-Methods"]?.contains("POST") == true)
      #expect(preflight.head["Access-Control-Allow-Headers"]?.contains("Content-Type") == true)
      let foreign = try await send(
        "OPTIONS", "/api/chat", ("Origin", "https://evil.example.com"), ("Access-Control-Request-Method", "POST"))
      #expect(foreign.status == 403 && foreign.head["Access-Control-Allow-Origin"] == nil)
      let page = try await HTTPProbe.exchange(
        "POST", "/api/chat", port: pool.port, headers: [("Origin", "http://localhost:3000")],
        body: Dialect.ollama.body())
      #expect(page.status == 200 && page.head["Access-Control-Allow-Origin"] == "http://localhost:3000")
      try await expectServing(pool)
    }
  }

  @Test("What is no HTTP, contradicts itself or is too long gets its 4xx, and the connection closes")
  func malformed() async throws {
    try await withPool { pool in
      let long = String(repeating: "x", count: 70_000)
      for (request, status) in [
        ("GARBAGE\r\n\r\n", 400), ("\u{16}\u{03}\u{01}\r\n\r\n", 400), ("GET /api/tags HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
        ("POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (
          "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
          400
        ),
        ("POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX-Long: \(long)\r\n\r\n", 431),
        ("GET /\(long.prefix(9000)) HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        ("GET /\(long) HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
      ] {
        let probe = try await HTTPProbe.connect(port: pool.port)
        try await probe.send(raw: request)
        let answer = try await probe.readUntilClosed(within: .seconds(20))
        let isAsExpected =
          answer.hasPrefix("HTTP/1.1 \(status) ") || (status == 431 && answer.hasPrefix("HTTP/1.1 414 "))
        #expect(isAsExpected, "\(request.prefix(120)): \(answer.prefix(200))")
        await probe.close()
      }
      try await expectServing(pool)
    }
  }

  @Test("A client that sends its head too slowly gets 408; meanwhile others are served")
  func slowSenders() async throws {
    try await withPool { pool in
      let slow = try await (0..<20).asyncMap { _ in
        let probe = try await HTTPProbe.connect(port: pool.port)
        try await probe.send(raw: "POST /api/chat HTTP/1.1\r\nHost: loc")
        return probe
      }
      // These have sent a head, and owe the body: they hold no slot.
      let owing = try await (0..<20).asyncMap { _ in
        let probe = try await HTTPProbe.connect(port: pool.port)
        try await probe.send("POST", "/api/chat", headers: [("Content-Length", "1000")])
        return probe
      }
      try await expectServing(pool)
      for probe in slow {
        #expect(try await probe.readUntilClosed(within: .seconds(20)).hasPrefix("HTTP/1.1 408 "))
      }
      for probe in owing { await probe.close() }
      try await expectServing(pool)
    }
  }

  private func expectServing(_ pool: Pool) async throws {
    try await pool.expectIdle()
    let answer = try await pool.post("/api/chat", Dialect.ollama.body())
    #expect(answer.status == 200 && answer.text.contains(#""done":true"#))
    try await pool.expectIdle()
  }
}
