import PoolCore
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("An instance that fails")
struct FailingInstanceTests {
  static let body = #"{"model":"m"}"#
  static let lines = #"{"done":false}"# + "\n"

  /// Sends a request to a first instance, which fails as `fail` says, and expects the second to serve it.
  private func servedElsewhere(
    after failure: AttemptFailure, _ fail: @Sendable (FakeConnection) async throws -> Void
  ) async throws {
    let first = try await FakeInstance.start()
    let second = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: first) { rig in
      let elsewhere = try second.address
      try await rig.set { delegate in
        delegate.onFailure = { exchange, _ in
          exchange.relay(to: elsewhere)
          return .wait
        }
      }
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let upstream = try await first.connection()
      _ = try await upstream.request()
      try await fail(upstream)
      let other = try await second.connection()
      #expect(try await other.request().hasSuffix("\r\n\r\n" + Self.body))
      try await other.answer("{}")
      #expect(try await client.answer().text == "{}")
      try await rig.waitForOutcomes([.served])
      #expect(try await rig.onLoop { _, delegate in delegate.failures } == [failure])
      #expect(try await rig.onLoop { _, delegate in delegate.firstBytes } == [1])
      #expect(try await rig.exchange { $0.lastProblem } != nil)
      try await upstream.waitUntilClosed()
    }
  }

  @Test("by closing before its answer: the request goes elsewhere")
  func closes() async throws { try await servedElsewhere(after: .broken) { await $0.close() } }

  @Test("by a reset before its answer: the request goes elsewhere")
  func resets() async throws { try await servedElsewhere(after: .broken) { try await $0.reset() } }

  @Test("in the middle of its answer's head: the request goes elsewhere")
  func halfHead() async throws {
    try await servedElsewhere(after: .broken) { upstream in
      try await upstream.send("HTTP/1.1 200 OK\r\nContent-")
      await upstream.close()
    }
  }

  @Test("with something that is no HTTP: the request goes elsewhere")
  func malformed() async throws {
    try await servedElsewhere(after: .broken) { try await $0.send("SSH-2.0-OpenSSH_9.2\r\n\r\n") }
  }

  @Test("with 503: the request goes elsewhere")
  func busy() async throws {
    try await servedElsewhere(after: .status(503)) { try await $0.answer(#"{"error":"server busy"}"#, status: 503) }
  }

  @Test("by not listening: the delegate decides, and its error reaches the client")
  func refused() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      try await instance.stop()
      try await rig.set { delegate in delegate.onFailure = { _, _ in .fail(.testRefusal) } }
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let answer = try await client.answer()
      #expect(answer.status == 503)
      #expect(answer.head["Retry-After"] == "7")
      try await rig.waitForOutcomes([.failed(.refused(code: "queue_full"))])
      #expect(try await rig.onLoop { _, delegate in delegate.failures } == [.refused])
    }
  }

  @Test("and the delegate leaves the request parked: a later order is carried out")
  func parkedAgain() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      try await rig.set { delegate in delegate.onFailure = { _, _ in .wait } }
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.answer("{}", status: 500)
      try await upstream.waitUntilClosed()
      let address = try instance.address
      try await rig.exchange { $0.relay(to: address) }
      let again = try await instance.connection(1)
      #expect(try await again.request().hasSuffix(Self.body))
      try await again.answer("{}")
      #expect(try await client.answer().status == 200)
      try await rig.waitForOutcomes([.served])
    }
  }

  @Test("with 500 that nobody could do better than: the client gets it as it is")
  func passedOn() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.answer(#"{"error":"out of memory"}"#, status: 500)
      let answer = try await client.answer()
      #expect(answer.status == 500)
      #expect(answer.text == #"{"error":"out of memory"}"#)
      try await rig.waitForOutcomes([.failed(.status(500))])
      #expect(try await rig.onLoop { _, delegate in delegate.firstBytes } == [1])
    }
  }

  @Test("without an answer, where nobody has a better idea: 502")
  func givenUp() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/v1/messages", body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      await upstream.close()
      let answer = try await client.answer()
      #expect(answer.status == 502)
      #expect(answer.text.contains(#""type":"api_error""#))
      try await rig.waitForOutcomes([.failed(.instanceLost)])
    }
  }

  @Test("by closing a kept connection just as it is used: the request goes out again, and nobody hears of it")
  func staleConnection() async throws {
    let instance = try await FakeInstance.start()
    var limits = GatewayLimits()
    limits.upstreamClosingTime = .minutes(1)
    try await GatewayRig.run(limits: limits, relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("GET", "/api/version")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      upstream.forget()
      try await upstream.answer("{}")
      _ = try await client.answer()
      try await client.send("POST", "/api/chat", body: Self.body)
      _ = try await upstream.request()
      await upstream.close()
      let fresh = try await instance.connection(1)
      #expect(try await fresh.request().hasSuffix(Self.body))
      // The same on the new one is a failure.
      await fresh.close()
      #expect(try await client.answer().status == 502)
      try await rig.waitForOutcomes([.served, .failed(.instanceLost)])
      #expect(try await rig.onLoop { _, delegate in delegate.failures } == [.broken])
    }
  }

  // MARK: In mid-stream

  /// A stream that is cut after `sent` (behind the head), and what of the body the client gets.
  struct Cut: Sendable, CustomTestStringConvertible {
    let name: String
    let stream: RelayTests.Stream
    let sent: String
    let content: String
    var testDescription: String { "\(stream.path), \(name)" }
  }

  static let cuts: [Cut] = RelayTests.streams.flatMap { stream in
    let piece = stream.pieces[0]
    let chunk = RelayTests.chunk(piece)
    let half = String(piece.prefix(9))
    let size = String(piece.utf8.count, radix: 16)
    let isLines = stream.type.hasPrefix("application")
    let blanks = String(repeating: " ", count: piece.utf8.count - half.utf8.count)
    return [
      Cut(name: "before the first piece", stream: stream, sent: "", content: ""),
      Cut(
        name: "between two pieces", stream: stream, sent: chunk, content: piece + (isLines ? "" : "\n")),
      Cut(
        name: "in a size line", stream: stream, sent: chunk + size, content: piece + (isLines ? "" : "\n")),
      Cut(
        name: "in a piece", stream: stream, sent: size + "\r\n" + half,
        content: half + blanks + (isLines ? "\n" : "\n\n")),
      Cut(
        name: "before a piece's end", stream: stream, sent: String(decoding: chunk.utf8.dropLast(2), as: UTF8.self),
        content: piece + (isLines ? "" : "\n")),
      Cut(
        name: "in a piece's end", stream: stream, sent: String(decoding: chunk.utf8.dropLast(1), as: UTF8.self),
        content: piece + (isLines ? "" : "\n")),
      Cut(
        name: "in the last chunk", stream: stream, sent: chunk + "0\r\n", content: piece + (isLines ? "" : "\n")),
    ]
  }

  static func error(_ stream: RelayTests.Stream, _ message: String, code: String) -> String {
    switch stream.path {
    case "/api/chat": #"{"error":"\#(message)"}"# + "\n"
    case "/v1/messages":
      "event: error\ndata: "
        + #"{"type":"error","error":{"type":"api_error","message":"\#(message)"},"request_id":"1"}"# + "\n\n"
    default:
      #"data: {"error":{"message":"\#(message)","type":"api_error","param":null,"code":"\#(code)"}}"# + "\n\n"
    }
  }

  @Test("in mid-stream: the stream ends properly, with the error in its dialect", arguments: cuts)
  func cutStream(cut: Cut) async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", cut.stream.path, body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(RelayTests.head(cut.stream.type) + cut.sent)
      await upstream.close()
      let answer = try await client.answer()
      #expect(answer.status == 200)
      let message = "The model stopped in the middle of the answer. Please ask again."
      #expect(answer.text == cut.content + Self.error(cut.stream, message, code: "instance_lost"))
      try await rig.waitForOutcomes([.failed(.instanceLost)])
      #expect(try await rig.onLoop { _, delegate in delegate.failures.isEmpty })
      // The connection is still good.
      try await client.send("GET", "/api/nothing")
      #expect(try await client.answer().status == 404)
    }
  }

  @Test("by ending a stream without its end marker: the error comes before the end", arguments: RelayTests.streams)
  func truncated(stream: RelayTests.Stream) async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", stream.path, body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(RelayTests.head(stream.type) + RelayTests.chunk(stream.pieces[0]) + "0\r\n\r\n")
      let answer = try await client.answer()
      let message = "The answer ended too early. Please ask again."
      let blank = stream.type.hasPrefix("application") ? "" : "\n"
      #expect(answer.text == stream.pieces[0] + blank + Self.error(stream, message, code: "truncated"))
      try await rig.waitForOutcomes([.failed(.truncated)])
    }
  }

  @Test("within the stream, with an error of its own: it is passed on, and is no success")
  func reportedInStream() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      let text = Self.lines + #"{"error":"unexpected EOF"}"# + "\n"
      try await upstream.send(RelayTests.head("application/x-ndjson") + RelayTests.chunk(text) + "0\r\n\r\n")
      #expect(try await client.answer().text == text)
      try await rig.waitForOutcomes([.failed(.reportedInStream)])
    }
  }

  @Test("in the middle of an answer that is no stream: the client finds it incomplete")
  func cutMessage() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let heads = [
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"half",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"half",
      ]
      for (number, head) in heads.enumerated() {
        let client = try await rig.connect()
        try await client.send("POST", "/api/chat", body: #"{"stream":false}"#)
        let upstream = try await instance.connection(number)
        _ = try await upstream.request()
        try await upstream.send(head)
        _ = try await client.head()
        await upstream.close()
        await #expect(throws: HTTPProbeError.self) { while try await client.piece() != nil {} }
      }
      try await rig.waitForOutcomes([.failed(.instanceLost), .failed(.instanceLost)])
    }
  }

  @Test("with a malformed chunk: what came before is passed on, then the stream ends with the error")
  func malformedChunk() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/chat", body: Self.body)
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(RelayTests.head("application/x-ndjson") + RelayTests.chunk(Self.lines) + "zz\r\n")
      let text = try await client.answer().text
      #expect(text.hasPrefix(Self.lines + #"{"error":""#))
      try await rig.waitForOutcomes([.failed(.instanceLost)])
      try await upstream.waitUntilClosed()
    }
  }

  @Test("in mid-stream, with a client of HTTP/1.0: the error line comes before the end")
  func http10() async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run(relayingTo: instance) { rig in
      let client = try await rig.connect()
      try await client.send(raw: "POST /api/chat HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
      let upstream = try await instance.connection()
      _ = try await upstream.request()
      try await upstream.send(RelayTests.head("application/x-ndjson") + RelayTests.chunk(Self.lines))
      await upstream.close()
      let raw = try await client.readUntilClosed()
      #expect(raw.contains("\r\n\r\n" + Self.lines + #"{"error":"The model stopped"#))
      try await rig.waitForOutcomes([.failed(.instanceLost)])
    }
  }
}
