import TestSupport
import Testing

@testable import Gateway

@Suite("Relaying")
struct RelayTests {
  /// A request that streams, and the pieces of the answer, in each dialect.
  struct Stream: Sendable, CustomTestStringConvertible {
    let path: String
    let type: String
    let pieces: [String]
    var testDescription: String { path }
  }

  static let streams = [
    Stream(
      path: "/api/chat", type: "application/x-ndjson",
      pieces: [#"{"message":{"content":"Hé"},"done":false}"# + "\n", #"{"done":true}"# + "\n"]),
    Stream(
      path: "/v1/chat/completions", type: "text/event-stream",
      pieces: [#"data: {"choices":[{"delta":{"content":"H"}}]}"# + "\n\n", "data: [DONE]\n\n"]),
    Stream(
      path: "/v1/messages", type: "text/event-stream; charset=utf-8",
      pieces: ["event: message_start\ndata: {}\n\n", "event: message_stop\ndata: {}\n\n"]),
  ]

  static func chunk(_ text: String) -> String { String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n" }

  static func head(_ type: String) -> String {
    "HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
      + "Transfer-Encoding: chunked\r\n\r\n"
  }

  @Test("passes each piece of a stream on before the next one is sent", arguments: streams)
  func timing(stream: Stream) async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", stream.path, body: #"{"model":"m:1b","stream":true}"#)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(Self.head(stream.type))
      let head = try await client.head()
      #expect(head.status == 200)
      #expect(head["Content-Type"] == stream.type)
      #expect(head["Date"] == "Mon, 01 Jan 2024 00:00:00 GMT")
      #expect(head["X-Request-Id"] == "1")
      for piece in stream.pieces {
        try await upstream.send(Self.chunk(piece))
        #expect(try await client.piece()?.text == piece)
      }
      try await upstream.send("0\r\n\r\n")
      #expect(try await client.piece() == nil)
      try await rig.waitForOutcomes([.served])
      #expect(try await rig.exchange { $0.model } == "m:1b")
      #expect(try await rig.exchange { $0.wantsStream })
    }
  }

  @Test("passes a stream on byte for byte, with its chunks and trailers as they came", arguments: streams)
  func byteForByte(stream: Stream) async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", stream.path, headers: [("Connection", "close")], body: #"{"model":"m"}"#)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      let text = stream.pieces.joined()
      // Chunks that end anywhere, an extension, leading zeros, a trailer.
      let body =
        Self.chunk(String(text.prefix(3))) + "1;x=\"y\"\r\n" + text.dropFirst(3).prefix(1)
        + "\r\n00" + Self.chunk(String(text.dropFirst(4))) + "0\r\nX-Trailer: t\r\n\r\n"
      // And sent in pieces that cut the framing anywhere.
      let bytes = Array((Self.head(stream.type) + body).utf8)
      for start in stride(from: 0, to: bytes.count, by: 7) {
        try await upstream.send(Array(bytes[start..<min(start + 7, bytes.count)]))
      }
      let raw = try await client.readUntilClosed()
      #expect(raw.hasSuffix("Connection: close\r\n\r\n" + body))
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("makes the request fit for the instance, and keeps the rest of it")
  func requestHead() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      let body = #"{"model":"m", "odd" : [1, 2]}"#
      try await client.send(
        "POST", "/api/chat?x=%20y",
        headers: [
          ("Host", "localhost:11434"), ("Origin", "http://localhost:3000"), ("Connection", "keep-alive, X-Hop"),
          ("X-Hop", "1"), ("Keep-Alive", "timeout=9"), ("Proxy-Authorization", "p"), ("TE", "trailers"),
          ("Expect", "100-continue"), ("Authorization", "Bearer t"), ("X-Api-Key", "k"), ("Cookie", "c=d"),
          ("X-Custom", "a"), ("X-Custom", "b"),
          ("Content-Type", "application/json"),
        ], body: body)
      let interim = try await client.head()
      #expect(interim.status == 100)
      let upstream = try await instance.connection()
      let request = try await upstream.request()
      let expected =
        "POST /api/chat?x=%20y HTTP/1.1\r\nHost: \(try instance.authority)\r\n"
        + "X-Custom: a\r\nX-Custom: b\r\nContent-Type: application/json\r\n"
        + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
      #expect(request == expected)
      try await upstream.answer("{}")
      let answer = try await client.answer()
      #expect(answer.head["Access-Control-Allow-Origin"] == "http://localhost:3000")
      #expect(answer.text == "{}")
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("sends a body that came in chunks with its length")
  func chunkedRequest() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(
        raw: "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
          + Self.chunk(#"{"model":"#) + Self.chunk(#""m"}"#) + "0\r\n\r\n")
      let upstream = try await instance.connection()
      let request = try await upstream.request()
      #expect(request.hasSuffix("Content-Length: 13\r\n\r\n" + #"{"model":"m"}"#))
      #expect(!request.contains("chunked"))
      try await upstream.answer("{}")
      #expect(try await client.answer().status == 200)
      #expect(try await rig.exchange { $0.bodyBytes } == 13)
    }
  }

  @Test("serves one request after the other on a connection, and uses the instance's again")
  func keepAlive() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      for round in 0..<3 {
        try await client.send("GET", "/api/version")
        let upstream = try await instance.connection()
        _ = try await upstream.request()
        upstream.forget()
        try await upstream.answer("{\"round\":\(round)}")
        #expect(try await client.answer().text == "{\"round\":\(round)}")
      }
      #expect(instance.connectionCount == 1)
      try await rig.waitForOutcomes([.served, .served, .served])
    }
  }

  @Test("answers pipelined requests in their order, one at a time")
  func pipelining() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      let one = "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
      try await client.send(raw: one + "GET /api/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" + one)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      #expect(try await rig.onLoop { _, delegate in delegate.arrived.count } == 1)
      upstream.forget()
      try await upstream.answer("first")
      #expect(try await client.answer().text == "first")
      #expect(try await client.answer().status == 404)
      _ = try await upstream.request()
      try await upstream.answer("third")
      #expect(try await client.answer().text == "third")
      try await rig.waitForOutcomes([.served, .served])
    }
  }

  @Test("serves thousands of pipelined requests that it answers itself, without growing its stack")
  func manyPipelined() async throws {
    try await GatewayRig.run { rig in
      try await rig.set { delegate in
        delegate.onArrival = { $0.respond(status: 200, headers: [], body: Array("Ollama is running".utf8)) }
      }
      let client = try await rig.connect()
      let count = 5000
      let sending = Task {
        try await client.send(raw: String(repeating: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", count: count))
      }
      try await rig.waitForArrivals(1)
      for _ in 0..<count { #expect(try await client.answer().text == "Ollama is running") }
      try await sending.value
      #expect(try await rig.outcomes.count == count)
    }
  }

  @Test("gives HEAD the head of the answer alone")
  func headRequest() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("HEAD", "/api/tags")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      upstream.forget()
      try await upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
      let answer = try await client.answer()
      #expect(answer.head["Content-Length"] == "99")
      #expect(answer.bytes.isEmpty)
      try await client.send("HEAD", "/api/nothing")
      #expect(try await client.answer().status == 404)
      try await client.send("HEAD", "/api/version")
      _ = try await upstream.request()
      try await upstream.send("HTTP/1.1 204 No Content\r\n\r\n")
      #expect(try await client.answer().status == 204)
      try await rig.waitForOutcomes([.served, .served])
    }
  }

  @Test("gives a client of HTTP/1.0 the content without chunks, and closes")
  func http10() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(raw: "POST /api/chat HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      let lines = #"{"done":false}"# + "\n" + #"{"done":true}"# + "\n"
      try await upstream.send(
        Self.head("application/x-ndjson") + Self.chunk(String(lines.prefix(5)))
          + Self.chunk(String(lines.dropFirst(5))) + "0\r\n\r\n")
      let raw = try await client.readUntilClosed()
      #expect(raw.hasSuffix("Connection: close\r\n\r\n" + lines))
      #expect(!raw.contains("chunked"))
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("keeps a connection of HTTP/1.0 that asks for it, where the length is known")
  func http10KeepAlive() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      for _ in 0..<2 {
        try await client.send(raw: "GET /api/version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        let upstream = try await instance.connection()
        _ = try await upstream.request()
        upstream.forget()
        try await upstream.answer("{}")
        let answer = try await client.answer()
        #expect(answer.head["Connection"] == "keep-alive")
      }
      try await rig.waitForOutcomes([.served, .served])
    }
  }

  @Test("puts into chunks what ends with the instance's connection")
  func untilClose() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: "{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      let line = #"{"done":true}"# + "\n"
      try await upstream.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n" + line)
      #expect(try await client.head()["Transfer-Encoding"] == "chunked")
      #expect(try await client.piece()?.text == line)
      await upstream.close()
      #expect(try await client.piece() == nil)
      try await client.send("POST", "/api/chat", body: "{}")
      _ = try await instance.connection(1).request()
      try await instance.connection(1).answer("{}")
      #expect(try await client.answer().text == "{}")
      try await rig.waitForOutcomes([.served, .served])
    }
  }

  @Test("does not use a connection again after bytes that nobody asked for, or where the instance says no")
  func noReuse() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n0",
      ]
      for (number, answer) in answers.enumerated() {
        try await client.send("GET", "/api/version")
        let upstream = try await instance.connection(number)
        _ = try await upstream.request()
        try await upstream.send(answer)
        #expect(try await client.answer().text == "{}")
        try await upstream.waitUntilClosed()
      }
    }
  }

  @Test("passes an instance's own error on, with its body")
  func ownError() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: #"{"model":"none"}"#)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.answer(#"{"error":"model 'none' not found"}"#, status: 404)
      let answer = try await client.answer()
      #expect(answer.status == 404)
      #expect(answer.text == #"{"error":"model 'none' not found"}"#)
      try await rig.waitForOutcomes([.served])
      #expect(try await rig.onLoop { _, delegate in delegate.failures.isEmpty })
    }
  }
}
