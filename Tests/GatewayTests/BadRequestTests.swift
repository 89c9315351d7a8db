import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("Bad requests")
struct BadRequestTests {
  /// Bytes that a client sends, the status it gets, and the beginning of the body.
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let raw: String
    let status: Int
    var body = #"{"error":""#
    var keepsConnection = false
    var testDescription: String { name }

    init(_ name: String, _ raw: String, _ status: Int, body: String = #"{"error":""#, keepsConnection: Bool = false) {
      self.name = name
      self.raw = raw
      self.status = status
      self.body = body
      self.keepsConnection = keepsConnection
    }
  }

  static let host = "Host: localhost\r\n"
  static let openAI = #"{"error":{"message":""#
  static let anthropic = #"{"type":"error","error":{"type":"#
  static func post(_ fields: String, _ body: String = "", path: String = "/api/chat") -> String {
    "POST \(path) HTTP/1.1\r\n\(host)\(fields)\r\n\(body)"
  }

  static let cases: [Case] = [
    Case("no HTTP at all", "hello\r\n\r\n", 400),
    Case("TLS to a plain port", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n", 400),
    Case("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    Case("a line that ends with LF alone", "GET /api/tags HTTP/1.1\nHost: localhost\n\n", 400),
    Case("no Host", "GET /api/tags HTTP/1.1\r\n\r\n", 400),
    Case("two Hosts", "GET /api/tags HTTP/1.1\r\n\(host)\(host)\r\n", 400),
    Case("a folded header", "GET /api/tags HTTP/1.1\r\n\(host)A: b\r\n c\r\n\r\n", 400),
    Case("a bare CR in a header", "GET /api/tags HTTP/1.1\r\n\(host)A: b\rc\r\n\r\n", 400),
    Case("a NUL in a header", "GET /api/tags HTTP/1.1\r\n\(host)A: b\u{0}c\r\n\r\n", 400),
    Case("white space before the colon", "GET /api/tags HTTP/1.1\r\n\(host)A : b\r\n\r\n", 400),
    Case("a header without a name", "GET /api/tags HTTP/1.1\r\n\(host): b\r\n\r\n", 400),
    Case("length and chunked", post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "{}"), 400),
    Case("chunked and length", post("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "{}"), 400),
    Case("two lengths", post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}x"), 400),
    Case("the same length twice", post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), 400),
    Case("a list of lengths", post("Content-Length: 2, 2\r\n", "{}"), 400),
    Case("a negative length", post("Content-Length: -2\r\n", "{}"), 400),
    Case("a signed length", post("Content-Length: +2\r\n", "{}"), 400),
    Case("a hexadecimal length", post("Content-Length: 0x2\r\n", "{}"), 400),
    Case("an empty length", post("Content-Length: \r\n", "{}"), 400),
    Case("an endless length", post("Content-Length: 99999999999999999999999\r\n", "{}"), 400),
    Case("an unknown coding", post("Transfer-Encoding: gzip\r\n", "{}"), 400),
    Case("a coding before chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
    Case("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 400),
    Case(
      "chunked in two headers", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
    Case("chunked with a blank before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400),
    Case("chunked in HTTP/1.0", "POST /api/chat HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    Case("a malformed chunk", post("Transfer-Encoding: chunked\r\n", "zz\r\n"), 400),
    Case("an absurd chunk", post("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n"), 400),
    Case("a chunk longer than its size", post("Transfer-Encoding: chunked\r\n", "1\r\nabc\r\n"), 400),
    Case(
      "a malformed chunk for OpenAI", post("Transfer-Encoding: chunked\r\n", "zz\r\n", path: "/v1/completions"), 400,
      body: openAI),
    Case(
      "a malformed chunk for Anthropic", post("Transfer-Encoding: chunked\r\n", "zz\r\n", path: "/v1/messages"), 400,
      body: anthropic),
    Case(
      "length and chunked for OpenAI",
      post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "{}", path: "/v1/chat/completions"), 400,
      body: openAI),
    Case(
      "the same length twice for Anthropic",
      post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}", path: "/v1/messages"), 400, body: anthropic),
    Case("a folded header for OpenAI", "GET /v1/models HTTP/1.1\r\n\(host)A: b\r\n c\r\n\r\n", 400, body: openAI),
    Case(
      "headers that are too long for OpenAI",
      "GET /v1/models HTTP/1.1\r\n\(host)A: " + String(repeating: "x", count: 40_000) + "\r\n\r\n", 431, body: openAI),
    Case(
      "an unknown path for OpenAI, encoded", "GET /%76%31/nothing HTTP/1.1\r\n\(host)\r\n", 404, body: openAI,
      keepsConnection: true),
    Case("a length that is too large", post("Content-Length: 4097\r\n"), 413),
    Case(
      "a length that is too large for Anthropic", post("Content-Length: 4097\r\n", path: "/v1/messages"), 413,
      body: anthropic),
    Case(
      "chunks that are too large together",
      post("Transfer-Encoding: chunked\r\n", "1000\r\n" + String(repeating: "x", count: 4096) + "\r\n1\r\nx\r\n"), 413),
    Case("a target that is too long", "GET /" + String(repeating: "x", count: 9000) + " HTTP/1.1\r\n\(host)\r\n", 414),
    Case(
      "a target that is too long for OpenAI",
      "GET /v1/models/" + String(repeating: "x", count: 9000) + " HTTP/1.1\r\n\(host)\r\n", 414, body: openAI),
    Case(
      "headers that are too long",
      "GET /api/tags HTTP/1.1\r\n\(host)A: " + String(repeating: "x", count: 40_000) + "\r\n\r\n", 431),
    Case(
      "headers that are too long together",
      "GET /api/tags HTTP/1.1\r\n\(host)"
        + (0..<40).map { "A\($0): " + String(repeating: "x", count: 1000) + "\r\n" }.joined() + "\r\n", 431),
    Case(
      "too many headers",
      "GET /api/tags HTTP/1.1\r\n\(host)" + String(repeating: "A: b\r\n", count: 300) + "\r\n", 431),
    Case(
      "a Connection that names thousands of fields, for OpenAI",
      "GET /v1/models HTTP/1.1\r\n\(host)Connection: " + String(repeating: "a,", count: 15_000) + "\r\n\r\n", 400,
      body: openAI),
    Case(
      "Connections that name too much together",
      "GET /api/tags HTTP/1.1\r\n\(host)"
        + String(repeating: "Connection: \(String(repeating: "a", count: 300))\r\n", count: 4) + "\r\n", 400),
    Case("an unknown expectation", post("Expect: miracles\r\nContent-Length: 2\r\n", "{}"), 417),
    Case("an unknown path", "GET /api/nothing HTTP/1.1\r\n\(host)\r\n", 404, keepsConnection: true),
    Case(
      "an unknown path for OpenAI", "GET /v1/nothing HTTP/1.1\r\n\(host)\r\n", 404, body: openAI, keepsConnection: true),
    Case("an unknown path with a body", post("Content-Length: 2\r\n", "{}", path: "/nothing"), 404),
    Case("a path that climbs", "GET /api/../api/tags HTTP/1.1\r\n\(host)\r\n", 404, keepsConnection: true),
    Case("a wrong method", "GET /api/chat HTTP/1.1\r\n\(host)\r\n", 405, keepsConnection: true),
    Case(
      "a wrong method for Anthropic", "GET /v1/messages HTTP/1.1\r\n\(host)\r\n", 405, body: anthropic,
      keepsConnection: true),
    Case("a tunnel", "CONNECT example.com:443 HTTP/1.1\r\n\(host)\r\n", 404),
    Case("a foreign host", "GET /api/tags HTTP/1.1\r\nHost: example.com\r\n\r\n", 403, keepsConnection: true),
    Case(
      "a foreign host in the target", "GET http://example.com/api/tags HTTP/1.1\r\n\(host)\r\n", 403,
      keepsConnection: true),
    Case(
      "a foreign origin", "GET /api/tags HTTP/1.1\r\n\(host)Origin: http://example.com\r\n\r\n", 403,
      keepsConnection: true),
    Case("two origins", "GET /api/tags HTTP/1.1\r\n\(host)Origin: http://localhost\r\nOrigin: http://x\r\n\r\n", 400),
  ]

  @Test("get the right status in the right dialect, and nothing is left of them", arguments: cases)
  func table(sample: Case) async throws {
    var limits = GatewayLimits()
    limits.requestBody = 4096
    try await GatewayRig.run(limits: limits) { rig in
      let client = try await rig.connect()
      try await client.send(raw: sample.raw)
      let answer = try await client.answer()
      #expect(answer.status == sample.status)
      #expect(answer.text.hasPrefix(sample.body), "\(answer.text)")
      if sample.status == 405 { #expect(answer.head["Allow"] == "POST") }
      if sample.keepsConnection {
        #expect(answer.head["Connection"] == nil)
        try await client.send("GET", "/nothing")
        #expect(try await client.answer().status == 404)
      } else {
        #expect(answer.head["Connection"] == "close")
        #expect(try await client.readUntilClosed() == "")
      }
      #expect(try await rig.onLoop { _, delegate in delegate.arrived.isEmpty })
      let told = try await rig.onLoop { _, delegate in delegate.refusals }.map(\.status)
      #expect(told == [sample.status] + (sample.keepsConnection ? [404] : []), "the delegate hears of each once")
    }
  }

  @Test("behind a good one in the pipeline are answered in their turn")
  func pipelined() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(raw: Self.post("Content-Length: 2\r\n", "{}") + "nonsense\r\n\r\n")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.answer("{}")
      #expect(try await client.answer().text == "{}")
      #expect(try await client.answer().status == 400)
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("whose body is being passed on end the exchange")
  func streamedBody() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(raw: Self.post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n", path: "/api/create"))
      let upstream = try await instance.connection()
      try await eventually("the first chunk arrives") { upstream.received.hasSuffix("{}\r\n") }
      try await client.send(raw: "nonsense\r\n")
      #expect(try await client.answer().status == 400)
      try await upstream.waitUntilClosed()
      try await rig.waitForOutcomes([.failed(.requestBody(.malformedRequest))])
    }
  }

  @Test("with more members than the pool reads get 400, and those that it just reads are served")
  func manyMembers() async throws {
    func body(_ count: Int) -> String {
      "{" + String(repeating: #""a":1,"#, count: count - 2) + #""model":"m","stream":false}"#
    }
    try await GatewayRig.run { rig in
      try await rig.set { delegate in
        delegate.onArrival = { $0.respond(status: 200, headers: [], body: Array(($0.model ?? "").utf8)) }
      }
      let client = try await rig.connect()
      try await client.send("POST", "/v1/chat/completions", body: body(1000))
      #expect(try await client.answer().text == "m")
      try await client.send("POST", "/v1/chat/completions", body: body(1001))
      let refused = try await client.answer()
      #expect(refused.status == 400)
      #expect(refused.text.hasPrefix(Self.openAI) && refused.text.contains("more than 1000 members"), "\(refused.text)")
      #expect(try await client.readUntilClosed() == "")
      #expect(try await rig.onLoop { _, delegate in delegate.refusals } == [.malformedRequest])
      // What an upload says is between the client and the instance.
      let upload = try await rig.connect()
      try await upload.send("POST", "/api/create", body: body(1001))
      #expect(try await upload.answer().status == 200)
    }
  }

  @Test("that come too slowly get 408")
  func slowSenders() async throws {
    var limits = GatewayLimits()
    limits.headTime = .milliseconds(100)
    limits.bodyPause = .milliseconds(100)
    try await GatewayRig.run(limits: limits) { rig in
      for (sent, dialect) in [
        ("GET /api/ta", #"{"error":""#), ("POST /api/chat HTTP/1.1\r\nHost: lo", #"{"error":""#),
        ("POST /v1/chat/completions HTTP/1.1\r\nHost: lo", Self.openAI),
        (Self.post("Content-Length: 9\r\n", "half"), #"{"error":""#),
        (Self.post("Content-Length: 9\r\n", "half", path: "/v1/messages"), Self.anthropic),
        (Self.post("Content-Length: 9\r\n", "", path: "/v1/completions"), Self.openAI),
      ] {
        let client = try await rig.connect()
        try await client.send(raw: sent)
        let answer = try await client.answer()
        #expect(answer.status == 408)
        #expect(answer.text.hasPrefix(dialect))
        #expect(try await client.readUntilClosed() == "")
      }
    }
  }

  @Test("that come in pieces which are always in time, and never add up, get 408 as well")
  func tricklingSenders() async throws {
    var limits = GatewayLimits()
    limits.bodyPause = .milliseconds(200)
    limits.bodyRate = 1 << 20
    try await GatewayRig.run(limits: limits) { rig in
      let client = try await rig.connect()
      try await client.send(raw: Self.post("Content-Length: 100000\r\n"))
      let sending = Task {
        while !Task.isCancelled { try await client.send(raw: "x") }
      }
      #expect(try await client.answer().status == 408)
      sending.cancel()
      _ = await sending.result
      #expect(try await rig.heldBytes == 0)
    }
  }

  @Test("in a second one on a connection are answered in their own dialect")
  func secondRequest() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      try await client.send("GET", "/nothing")
      #expect(try await client.answer().text.hasPrefix(#"{"error":""#))
      try await client.send(raw: "GET /v1/models HTTP/1.1\r\n\(Self.host)A : b\r\n\r\n")
      #expect(try await client.answer().text.hasPrefix(Self.openAI))
    }
  }

  @Test("that never come are closed without a word")
  func idle() async throws {
    var limits = GatewayLimits()
    limits.idleTime = .milliseconds(100)
    try await GatewayRig.run(limits: limits) { rig in
      let client = try await rig.connect()
      #expect(try await client.readUntilClosed() == "")
    }
  }

  @Test("an answer given before the whole body came reaches the client")
  func earlyAnswer() async throws {
    var limits = GatewayLimits()
    limits.requestBody = 1000
    try await GatewayRig.run(limits: limits) { rig in
      let client = try await rig.connect()
      let body = String(repeating: "x", count: 3_000_000)
      try await client.send(raw: Self.post("Content-Length: \(body.utf8.count)\r\n", body))
      #expect(try await client.answer().status == 413)
      #expect(try await client.readUntilClosed() == "")
    }
  }

  @Test("a browser's preflight is answered, for pages that may ask")
  func preflight() async throws {
    try await GatewayRig.run { rig in
      let client = try await rig.connect()
      for _ in 0..<2 {
        try await client.send(
          "OPTIONS", "/api/chat",
          headers: [("Origin", "http://localhost:3000"), ("Access-Control-Request-Method", "POST")])
        let answer = try await client.answer()
        #expect(answer.status == 204)
        #expect(answer.head["Access-Control-Allow-Origin"] == "http://localhost:3000")
        #expect(answer.head["Access-Control-Allow-Methods"]?.contains("POST") == true)
        #expect(answer.head["Content-Length"] == nil)
      }
      try await client.send("OPTIONS", "/api/chat", headers: [("Origin", "http://example.com")])
      #expect(try await client.answer().status == 403)
      try await client.send("OPTIONS", "/api/chat")
      #expect(try await client.answer().status == 405)
    }
  }

  @Test("an upgrade is not taken: the request is answered as any other, and the connection closes")
  func upgrade() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(
        raw: "GET /api/version HTTP/1.1\r\n\(Self.host)Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
          + "HTTP2-Settings: AAMAAABk\r\n\r\n" + String(repeating: "x", count: 300_000))
      let upstream = try await instance.connection()
      let request = try await upstream.request()
      #expect(!request.lowercased().contains("upgrade") && !request.lowercased().contains("http2"))
      try await upstream.answer("{}")
      let answer = try await client.answer()
      #expect(answer.text == "{}")
      #expect(answer.head["Connection"] == "close")
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("random bytes and mutated requests leave nothing behind", arguments: [3, 4] as [UInt64])
  func fuzz(seed: UInt64) async throws {
    var limits = GatewayLimits()
    limits.requestBody = 1000
    limits.lingerTime = .milliseconds(50)
    let samples =
      Self.cases.map { Array($0.raw.utf8.prefix(600)) }
      + [Array((Self.post("Content-Length: 2\r\n", "{}") + "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").utf8)]
    try await GatewayRig.run(limits: limits) { [limits] rig in
      _ = limits
      try await rig.set { delegate in
        delegate.onArrival = { $0.respond(status: 200, headers: [], body: Array("x".utf8)) }
      }
      var numbers = SeededNumbers(seed: seed)
      for _ in 0..<300 {
        var bytes = samples.randomElement(using: &numbers) ?? []
        for _ in 0..<Int.random(in: 0...5, using: &numbers) where !bytes.isEmpty {
          let place = Int.random(in: 0..<bytes.count, using: &numbers)
          switch Int.random(in: 0..<3, using: &numbers) {
          case 0: bytes[place] = UInt8.random(in: .min ... .max, using: &numbers)
          case 1: bytes.remove(at: place)
          default: bytes.insert(contentsOf: bytes[place...].prefix(30), at: place)
          }
        }
        let client = try await rig.connect()
        let cut = Int.random(in: 0...bytes.count, using: &numbers)
        try? await client.send(raw: Array(bytes[..<cut]))
        try? await client.send(raw: Array(bytes[cut...]))
        await client.close()
      }
      let client = try await rig.connect()
      try await client.send("GET", "/")
      #expect(try await client.answer().status == 200)
    }
  }
}
