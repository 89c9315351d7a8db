import TestSupport
import Testing

/// The chat behind an nginx that knows nothing of it.
@Suite(.serialized, .enabled(if: Tool.isHere("nginx"), Tool.remedy("nginx"))) struct NginxTests {
  @Test("A wait of 90 s behind nginx's defaults: nothing is cut off, held back or lost")
  func longWait() async throws {
    let setup = Pool.Setup(
      settings: "chat:\n  default_model: llama3.2", simulator: ["TOKENS_PER_SECOND": "10"])
    try await withPool(setup) { pool in
      let nginx = try await Nginx.plain(before: pool)
      let occupant = try await pool.openStream(tokens: 930)
      _ = try await occupant.head()
      let question = try await HTTPProbe.connect(port: nginx.port)
      let askedAt = ContinuousClock.now
      try await question.send("POST", "/chat/stream", body: #"{"message": "hello"}"#)
      let head = try await question.head()
      #expect(head.status == 200 && head["X-Request-Id"] != nil)
      var pieces: [HTTPProbe.Piece] = []
      while let piece = try await question.piece(within: .seconds(20)) { pieces.append(piece) }
      let arrivals = [askedAt] + pieces.map(\.receivedAt)
      #expect(zip(arrivals, arrivals.dropFirst()).map { $1 - $0 }.max() ?? .zero < .seconds(15))
      let events = pieces.map { ChatEvent.all(in: $0.text) }
      #expect(pieces[0].receivedAt - askedAt < .seconds(1) && events[0].first?.position == 2)
      let tokens = zip(pieces, events).filter { $1.contains { $0.type == "token" } }.map(\.0.receivedAt)
      #expect(tokens.count == 8, "each token comes by itself: \(pieces.map(\.text))")
      #expect(tokens[0] - askedAt > .seconds(90) && tokens[7] - tokens[0] > .milliseconds(500))
      #expect(events.joined().last?.type == "done")
    }
  }

  @Test("A question without a model, before any instance is there: taken at once, and kept alive for 95 s")
  func withoutModel() async throws {
    let pool = try Pool(Pool.Setup(faults: "slow-start 95"))
    defer { pool.kill() }
    let nginx = try await Nginx.plain(before: pool)
    let question = try await HTTPProbe.connect(port: nginx.port)
    let askedAt = ContinuousClock.now
    try await question.send(
      "POST", "/chat/stream", headers: [("Accept-Language", "en")], body: #"{"message": "hello"}"#)
    let head = try await question.head()
    #expect(head.status == 200 && head["X-Request-Id"] != nil && head.receivedAt - askedAt < .seconds(1))
    var pieces: [HTTPProbe.Piece] = []
    while let piece = try await question.piece(within: .seconds(20)) { pieces.append(piece) }
    let arrivals = [askedAt] + pieces.map(\.receivedAt)
    #expect(zip(arrivals, arrivals.dropFirst()).map { $1 - $0 }.max() ?? .zero < .seconds(15))
    let end = try #require(pieces.last)
    #expect(end.receivedAt - askedAt > .seconds(80))
    // Several are installed: which one is wanted nobody could know before.
    #expect(ChatEvent.all(in: end.text).last?.code == "model_needed", "\(end.text)")
    try await pool.stop()
  }
}
