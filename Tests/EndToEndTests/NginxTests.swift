import Foundation
import TestSupport
import Testing

/// The chat behind an nginx that knows nothing of it.
@Suite(.serialized, .enabled(if: Tool.isHere("nginx"), Tool.remedy("nginx"))) struct NginxTests {
  @Test(
    "Waits of 90 s behind nginx's defaults, with an instance and without one: nothing is cut off, held back or lost")
  func longWaits() async throws {
    // Together: both do nothing most of the time.
    async let inTheQueue: Void = waitInTheQueue()
    try await waitWithoutModel()
    try await inTheQueue
  }

  private func waitInTheQueue() async throws {
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

  @Test("The nginx of docs/users.md: users by name, the chat's page under the name that browsers know, nobody else's")
  func documented() async throws {
    let settings = """
      chat: {default_model: llama3.2}
      access: {trusted_proxies: [127.0.0.1]}
      users: {ann: {role: administrator}}
      """
    try await withPool(Pool.Setup(settings: settings)) { pool in
      let nginx = try await Nginx.ofUsers(["ann", "bob"], before: pool)
      func status(_ method: String, _ path: String, _ body: String, _ headers: [(String, String)]) async throws -> (
        Int, cookie: String?
      ) {
        let answer = try await HTTPProbe.exchange(method, path, port: nginx.port, headers: headers, body: body)
        return (answer.status, answer.head["Set-Cookie"])
      }
      let bob = ("Authorization", "Basic " + Data("bob:secret".utf8).base64EncodedString())
      let page = [bob, ("Host", "chat.example.org:8443"), ("Origin", "https://chat.example.org:8443")]
      let question = #"{"message": "hello"}"#
      let asked = try await status("POST", "/chat/stream", question, page)
      #expect(asked.0 == 200 && asked.cookie?.contains("SameSite") == true)
      let elsewhere = ("Origin", "https://evil.example")
      #expect(try await status("POST", "/chat/stream", question, [bob, page[1], elsewhere]).0 == 403)
      #expect(try await status("POST", "/chat/stream", question, [page[1], page[2]]).0 == 401)
      // What clients say of themselves is replaced.
      let forged = [bob, elsewhere, ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-User", "ann")]
      #expect(try await status("POST", "/chat/stream", question, forged).0 == 403)
      let deletion = #"{"model": "missing"}"#
      #expect(try await status("DELETE", "/api/delete", deletion, [bob, forged[3]]).0 == 403)
      let ann = ("Authorization", "Basic " + Data("ann:secret".utf8).base64EncodedString())
      #expect(try await status("DELETE", "/api/delete", deletion, [ann]).0 == 404)
    }
  }

  /// A question without a model, before any instance is there: taken at once, and kept alive for 95 s.
  private func waitWithoutModel() async throws {
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
