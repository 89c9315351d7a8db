import Foundation
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("A stream that begins before there is an answer")
struct EarlyStreamTests {
  /// Those whose clients pass comments over.
  static let streams: [RelayTests.Stream] = Array(RelayTests.streams.dropFirst())
  private static let request = #"{"model":"m","stream":true}"#

  /// A client whose stream has begun, and an instance that may answer it.
  private struct Begun {
    let rig: GatewayRig
    let client: HTTPProbe
    let head: HTTPProbe.Head
    let instance: FakeInstance

    /// The instance gets the request.
    func relay() async throws -> FakeConnection { try await relay(to: instance) }

    func relay(to instance: FakeInstance) async throws -> FakeConnection {
      let address = try instance.address
      try await rig.exchange { $0.relay(to: address) }
      let upstream = try await instance.connection()
      #expect(try await !upstream.request().contains("HTTP/1.0"))
      return upstream
    }

    /// What is left of the stream.
    func rest() async throws -> String {
      var text = ""
      while let piece = try await client.piece() { text += piece.text }
      return text
    }
  }

  /// Sends a request whose client wants to hear its place, and has the delegate begin.
  private static func begin(
    _ stream: RelayTests.Stream, version: String = "1.1", _ body: (Begun) async throws -> Void
  ) async throws {
    let instance = try await FakeInstance.start()
    try await GatewayRig.run { rig in
      try await rig.set { delegate in delegate.onArrival = { #expect($0.beginEarly()) } }
      let client = try await rig.connect()
      try await client.send(
        raw: "POST \(stream.path) HTTP/\(version)\r\nHost: localhost\r\nX-Pool-Progress: 1\r\n"
          + "Content-Length: \(request.utf8.count)\r\n\r\n\(request)")
      try await body(Begun(rig: rig, client: client, head: try await client.head(), instance: instance))
    }
  }

  @Test(
    "tells its place in comments at once, and the answer follows in the same stream",
    arguments: streams, ["1.1", "1.0"])
  func followed(stream: RelayTests.Stream, version: String) async throws {
    try await Self.begin(stream, version: version) { begun in
      let (rig, client, head) = (begun.rig, begun.client, begun.head)
      #expect(head.status == 200 && head["Content-Type"] == "text/event-stream")
      #expect(head["Cache-Control"] == "no-store" && head["X-Accel-Buffering"] == "no")
      #expect(head["X-Request-Id"] == "1")
      #expect((head["Transfer-Encoding"] == "chunked") == (version == "1.1"))
      for place in ["2", "1", ""] {
        try await rig.exchange { $0.comment(place.utf8) }
        #expect(try await client.piece()?.text == ": \(place)\n\n")
      }
      #expect(try await rig.exchange { !$0.hasBegun && $0.answerStatus == nil })
      let upstream = try await begun.relay()
      try await rig.exchange { $0.comment("loading".utf8) }
      #expect(try await client.piece()?.text == ": loading\n\n")
      try await upstream.send(RelayTests.head(stream.type))
      for piece in stream.pieces {
        try await upstream.send(RelayTests.chunk(piece))
        #expect(try await client.piece()?.text == piece)
        try await rig.exchange { $0.comment("too late".utf8) }
      }
      try await upstream.send("0\r\n\r\n")
      #expect(try await client.piece() == nil)
      try await rig.waitForOutcomes([.served])
      guard version == "1.1" else { return }
      // The connection is as good as before.
      try await rig.set { delegate in
        delegate.onArrival = { $0.respond(status: 200, headers: [], body: Array("next".utf8)) }
      }
      try await client.send("GET", "/")
      #expect(try await client.answer().text == "next")
    }
  }

  private static let plain: [(path: String, field: String, body: String)] = [
    ("/v1/chat/completions", "X-Other: 1", #"{"stream":true}"#),
    ("/v1/chat/completions", "X-Pool-Progress: 0", #"{"stream":true}"#),
    ("/v1/chat/completions", "X-Pool-Progress: 1", #"{"stream":false}"#),
    ("/v1/messages", "X-Pool-Progress: 1", "{}"),
    ("/v1/embeddings", "X-Pool-Progress: 1", #"{"stream":true}"#),
    ("/api/chat", "X-Pool-Progress: 1", #"{"stream":true}"#),
  ]

  @Test("does not begin where nobody asked, or the answer is none of events", arguments: plain)
  func unwanted(path: String, field: String, body: String) async throws {
    try await GatewayRig.run { rig in
      try await rig.set { delegate in
        delegate.onArrival = {
          #expect(!$0.beginEarly())
          $0.comment("for nobody".utf8)
          $0.refuse(.testRefusal)
        }
      }
      let client = try await rig.connect()
      try await client.send(
        raw: "POST \(path) HTTP/1.1\r\nHost: localhost\r\n\(field)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
      )
      let answer = try await client.answer()
      #expect(answer.status == 503 && answer.head["Content-Type"] == "application/json; charset=utf-8")
    }
  }

  /// What becomes of a request whose stream has begun, and what its client is told.
  struct Failure: Sendable, CustomTestStringConvertible {
    var testDescription: String
    /// What the instance sends before it closes; nil where the pool itself refuses.
    var sent: String?
    var message: String
    var outcome: ExchangeOutcome
    /// Whether the answer has begun: then the events before the error are its own.
    var hasBegun = false
  }

  private static func whole(_ status: Int, _ body: String, type: String = "application/json") -> String {
    "HTTP/1.1 \(status) X\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  private static let longError = #"{"error":{"message":""# + String(repeating: "no ", count: 40_000) + #""}}"#

  private static let failures = [
    Failure(
      testDescription: "the pool refuses it", sent: nil, message: "The queue is full.",
      outcome: .failed(.refused(code: "queue_full"))),
    Failure(
      testDescription: "the instance closes", sent: "",
      message: "The model server failed before it answered: it closed the connection without an answer.",
      outcome: .failed(.instanceLost)),
    Failure(
      testDescription: "an error of the instance's own", sent: whole(404, #"{"error":{"message":"no such model"}}"#),
      message: "no such model", outcome: .failed(.reportedInStream)),
    Failure(
      testDescription: "an error in several lines",
      sent: whole(500, "{\r\n\t\"error\": {\r\n\t\t\"message\": \"line by line\"\r\n\t}\r}\n"),
      message: "line by line", outcome: .failed(.reportedInStream)),
    Failure(
      testDescription: "an error that is no JSON", sent: whole(500, "<html>", type: "text/html"),
      message: "The model server failed before it answered: it gave no stream.",
      outcome: .failed(.reportedInStream)),
    Failure(
      testDescription: "an error that is far too long", sent: whole(400, longError),
      message: "The model server failed before it answered: it gave no stream.",
      outcome: .failed(.reportedInStream)),
    Failure(
      testDescription: "an answer that is no stream", sent: whole(200, #"{"choices":[]}"#),
      message: "The model server failed before it answered: it gave no stream.",
      outcome: .failed(.reportedInStream)),
    Failure(
      testDescription: "no content", sent: "HTTP/1.1 204 X\r\n\r\n",
      message: "The model server failed before it answered: it gave no stream.",
      outcome: .failed(.reportedInStream)),
    Failure(
      testDescription: "half an error",
      sent: "HTTP/1.1 500 X\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"err",
      message: "The model stopped in the middle of the answer. Please ask again.", outcome: .failed(.instanceLost)),
    Failure(
      testDescription: "half a stream", sent: "half",
      message: "The model stopped in the middle of the answer. Please ask again.", outcome: .failed(.instanceLost),
      hasBegun: true),
    Failure(
      testDescription: "a stream without its end", sent: "half0\r\n\r\n",
      message: "The answer ended too early. Please ask again.", outcome: .failed(.truncated), hasBegun: true),
  ]

  @Test("ends with the error as an event in its dialect, and a proper end", arguments: streams, failures)
  func failed(stream: RelayTests.Stream, failure: Failure) async throws {
    try await Self.begin(stream) { begun in
      let rig = begun.rig
      try await rig.exchange { $0.comment("1".utf8) }
      if let sent = failure.sent {
        let upstream = try await begun.relay()
        let half = RelayTests.head(stream.type) + RelayTests.chunk(stream.pieces[0])
        try await upstream.send(sent.replacing("half", with: half))
        await upstream.close()
      } else {
        try await rig.exchange { $0.refuse(.testRefusal) }
      }
      let text = try await begun.rest()
      #expect(text.hasPrefix(failure.hasBegun ? ": 1\n\n\(stream.pieces[0])" : ": 1\n\n"))
      #expect(text.hasSuffix("\n\n"))
      let events = text.split(separator: "\n\n").filter { !$0.hasPrefix(":") }
      #expect(events.count == (failure.hasBegun ? 2 : 1), "\(text.prefix(1000))")
      let lines = try #require(events.last).split { $0.isNewline }
      #expect(lines.dropLast() == (stream.path == "/v1/messages" ? ["event: error"] : []))
      let data = try #require(lines.last).trimmingPrefix("data: ")
      let object = try JSONSerialization.jsonObject(with: Data(data.utf8)) as? [String: Any]
      #expect((object?["error"] as? [String: Any])?["message"] as? String == failure.message)
      try await rig.waitForOutcomes([failure.outcome])
    }
  }

  @Test("goes on telling its place when an attempt fails and it waits again")
  func again() async throws {
    let other = try await FakeInstance.start()
    let stream = Self.streams[0]
    try await Self.begin(stream) { begun in
      let (rig, client) = (begun.rig, begun.client)
      try await rig.set { delegate in delegate.onFailure = { _, _ in .wait } }
      let upstream = try await begun.relay()
      try await upstream.answer("{}", status: 500)
      try await upstream.waitUntilClosed()
      try await rig.exchange { $0.comment("1".utf8) }
      #expect(try await client.piece()?.text == ": 1\n\n")
      try await begun.relay(to: other).send(
        RelayTests.head(stream.type) + RelayTests.chunk(stream.pieces[1]) + "0\r\n\r\n")
      #expect(try await client.piece()?.text == stream.pieces[1])
      #expect(try await client.piece() == nil)
      try await rig.waitForOutcomes([.served])
    }
  }

  /// How far a request has come when its client leaves.
  enum Stage: CaseIterable, Sendable { case waiting, sent, answering, failing }

  @Test("ends at once when its client leaves", arguments: Stage.allCases)
  func left(stage: Stage) async throws {
    let stream = Self.streams[0]
    try await Self.begin(stream) { begun in
      let (rig, client, instance) = (begun.rig, begun.client, begun.instance)
      if stage != .waiting { _ = try await begun.relay() }
      switch stage {
      case .waiting, .sent: break
      case .answering:
        try await instance.connection().send(RelayTests.head(stream.type) + RelayTests.chunk(stream.pieces[0]))
        _ = try await client.piece()
      case .failing:
        try await instance.connection().send("HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\nhalf")
        try await eventually("the instance's error is on its way") { try await rig.exchange { $0.hasBegun } }
      }
      await client.close()
      try await rig.waitForOutcomes([.cancelled])
      if stage != .waiting { try await instance.connection().waitUntilClosed() }
      try await rig.exchange {
        $0.comment("for nobody".utf8)
        $0.refuse(.testRefusal)
      }
      try await rig.checkExchangesAreFreed()
    }
  }

  @Test("leaves comments out that its client does not take, and gives it the rest")
  func neverReading() async throws {
    let stream = Self.streams[0]
    try await Self.begin(stream) { begun in
      let (rig, client) = (begun.rig, begun.client)
      try await client.pauseReading()
      let comment = String(repeating: "x", count: 10_000)
      // Far more than the kernel's buffers hold.
      let count = 2_000
      for _ in 0..<(count / 100) {
        try await rig.exchange { exchange in for _ in 0..<100 { exchange.comment(comment.utf8) } }
      }
      #expect(try await rig.exchange { $0.connection?.backlog.readableBytes ?? 0 } < 64 << 10)
      let upstream = try await begun.relay()
      try await upstream.send(RelayTests.head(stream.type) + RelayTests.chunk(stream.pieces[1]) + "0\r\n\r\n")
      try await client.resumeReading()
      let text = try await begun.rest()
      #expect(text.hasSuffix("\n\n\(stream.pieces[1])") && text.utf8.count < count / 2 * comment.utf8.count)
      try await rig.waitForOutcomes([.served])
    }
  }
}
