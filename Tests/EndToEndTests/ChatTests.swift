import Foundation
import TestSupport
import Testing

/// `/chat/stream` as its users have it: one instance with one slot before many of them.
@Suite(.serialized) struct ChatTests {
  private static func slow(tokens: Int = 10, perSecond: Int = 20) -> Pool.Setup {
    var setup = Pool.Setup()
    setup.simulator = ["TOKENS": "\(tokens)", "TOKENS_PER_SECOND": "\(perSecond)"]
    return setup
  }

  @Test("Of three at the same time the first is answered at once, and the others hear their places")
  func places() async throws {
    // Longer than the pause between two updates of a place: none is passed over.
    try await withPool(Self.slow(tokens: 40)) { pool in
      let first = try await ChatUser(pool).ask("one")
      let second = try await ChatUser(pool).ask("two")
      let third = try await ChatUser(pool).ask("three")
      let place = try #require(try await second.next())
      #expect(place.type == "queue" && place.position == 2 && place.message == "In coda: posizione 2")
      #expect(place.eta_seconds == 35 && place.request_id == second.request)
      #expect(try #require(place.eta_p90_seconds) > 35)
      #expect(try await third.next()?.position == 3)
      try await third.next(until: { $0.position == 2 })
      for stream in [first, second, third] {
        try await stream.finish()
        #expect(stream.events.last?.type == "done" && stream.events.last?.request_id == stream.request)
        #expect(stream.events.count { $0.type == "token" } == 40)
        #expect(stream.events.compactMap(\.number) == stream.events.compactMap(\.number).sorted())
      }
      #expect(first.places == [], "whoever starts at once hears of no queue")
      #expect(second.places == [2, 1] && third.places == [3, 2, 1], "\(third.events.filter { $0.position != nil })")
      #expect(first.head["Cache-Control"] == "no-store" && first.head["X-Accel-Buffering"] == "no")
      #expect(first.head["Content-Type"] == "text/event-stream; charset=utf-8")
    }
  }

  @Test("Ten users at once, each with three questions in a row, all have their own answers")
  func tenUsers() async throws {
    var setup = Self.slow(tokens: 4, perSecond: 200)
    setup.gpus = 2
    try await withPool(setup) { pool in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<10 {
          group.addTask {
            let user = ChatUser(pool)
            for question in 0..<3 {
              let stream = try await user.ask("question \(question) of \(number)")
              try await stream.finish()
              #expect(stream.events.last?.type == "done")
              // The simulator says the same to the same question, and to each something else.
              let alone = try await pool.post(
                "/api/chat",
                #"{"model":"llama3.2","stream":false,"messages":[{"role":"user","content":"#
                  + #""question \#(question) of \#(number)"}]}"#)
              let message = alone.object["message"] as? [String: Any]
              #expect(message?["content"] as? String == stream.text && !stream.text.isEmpty)
              // Places only ever get better.
              #expect(stream.places == stream.places.sorted(by: >))
            }
            let history = try await user.history()
            #expect(
              history.messages.filter { $0.role == "user" }.map(\.content)
                == (0..<3).map { "question \($0) of \(number)" })
            #expect(history.messages.count == 6 && history.open.isEmpty)
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test("Who closes the connection gives the slot up at once, and may come back to an answer anew")
  func leaving() async throws {
    try await withPool(Self.slow(tokens: 40)) { pool in
      let user = ChatUser(pool)
      let stream = try await user.ask("long")
      try await stream.next(until: { $0.type == "token" })
      let waiting = try await ChatUser(pool).ask("next")
      #expect(try await waiting.next()?.position == 2)
      let left = ContinuousClock.now
      await stream.close()
      #expect(try await waiting.next()?.position == 1)
      print("the slot was the next one's after \(ContinuousClock.now - left)")

      let back = try await user.follow(stream.request, after: stream.last)
      #expect(try await back.next()?.type == "restart")
      #expect(try await back.next()?.position == 2, "it keeps its turn, and the slot is taken now")
      try await back.finish()
      #expect(back.events.last?.type == "done" && back.events.count { $0.type == "token" } == 40)
      try await waiting.finish()
    }
  }

  @Test("Who waits and closes the connection gives the place up at once")
  func leavingQueue() async throws {
    try await withPool(Self.slow(tokens: 40)) { pool in
      let first = try await ChatUser(pool).ask("one")
      try await first.next(until: { $0.type == "token" })
      let second = try await ChatUser(pool).ask("two")
      let third = try await ChatUser(pool).ask("three")
      #expect(try await third.next()?.position == 3)
      await second.close()
      #expect(try await third.next()?.position == 2)
      #expect(first.events.last?.type == "token", "the first is still being answered")
      await third.close()
      await first.close()
    }
  }

  @Test("Who means to come back misses nothing")
  func resuming() async throws {
    try await withPool(Self.slow(tokens: 30)) { pool in
      let user = ChatUser(pool)
      let stream = try await user.ask("long", resumable: true)
      for _ in 0..<5 { try await stream.next(until: { $0.type == "token" }) }
      await stream.close()
      let back = try await user.follow(stream.request, after: stream.last)
      try await back.finish()
      let whole = try await user.follow(stream.request, after: nil)
      try await whole.finish()
      #expect(whole.text == stream.text + back.text)
      #expect(whole.events.count { $0.type == "token" } == 30 && !whole.events.contains { $0.type == "restart" })
      #expect(try await user.history().messages.last?.content == whole.text)
    }
  }

  @Test("A question is stopped by its name, by whom it belongs to alone")
  func stopping() async throws {
    try await withPool(Self.slow(tokens: 100)) { pool in
      let user = ChatUser(pool)
      let stranger = ChatUser(pool)
      _ = try await stranger.send("GET", "/chat/history")
      let running = try await user.ask("long")
      try await running.next(until: { $0.type == "token" })
      let other = try await stranger.ask("mine")
      #expect(try await other.next()?.position == 2)
      for path in ["/chat/stream/", "/queue/"] {
        #expect(try await user.send("GET", path + "unknown").status == 404)
      }
      #expect(try await stranger.send("DELETE", "/chat/requests/\(running.request)").status == 404)
      #expect(try await stranger.send("GET", "/chat/stream/\(running.request)").status == 404)
      #expect(try await stranger.send("GET", "/queue/\(running.request)").status == 404)
      #expect(try await user.send("GET", "/queue/\(running.request)").text.contains(#""state":"answering""#))

      #expect(try await user.send("DELETE", "/chat/requests/\(running.request)").status == 204)
      try await running.finish()
      #expect(running.events.last?.stopped == true)
      #expect(try await other.next()?.position == 1, "the slot is free")
      #expect(try await stranger.send("DELETE", "/chat/requests/\(other.request)").status == 204)
      try await other.finish()
      try await eventually("nothing runs any more") {
        try await user.send("GET", "/queue").text.contains(#""running":0"#)
      }
      let history = try await user.history()
      #expect(history.messages.map(\.role) == ["user", "assistant"] && history.messages[1].content == running.text)
      #expect(try await user.send("DELETE", "/chat/history").status == 204)
      #expect(try await user.history().messages.isEmpty)
      #expect(try await stranger.history().messages.first?.content == "mine")
    }
  }

  @Test("A killed dispatcher loses no question: each keeps its place, and what ran is answered anew")
  func killed() async throws {
    try await withPool(Self.slow(tokens: 40)) { pool in
      let users = (0..<3).map { _ in ChatUser(pool) }
      let running = try await users[0].ask("one")
      try await running.next(until: { $0.type == "token" })
      var waiting: [EventReader] = []
      for user in users.dropFirst() {
        waiting.append(try await user.ask("waits"))
        #expect(try await waiting.last?.next()?.position == waiting.count + 1)
      }
      pool.program.signal(SIGKILL)
      _ = try await pool.program.wait(within: .seconds(10))
      try await pool.expectNothingLeft()
      try pool.startAgain()
      _ = try await pool.status(until: "an instance takes requests") { $0.maxConcurrent == 1 }

      let third = try await users[2].follow(waiting[1].request, after: waiting[1].last)
      let second = try await users[1].follow(waiting[0].request, after: waiting[0].last)
      let first = try await users[0].follow(running.request, after: running.last)
      #expect(try await first.next()?.type == "restart")
      for stream in [first, second, third] {
        try await stream.finish()
        #expect(stream.events.last?.type == "done" && stream.events.count { $0.type == "token" } == 40)
      }
      let ends = [first, second, third].compactMap { $0.events.last?.timestamp }
      #expect(ends[1] <= ends[2], "those that waited keep their order")
      #expect(ends[0] <= ends[2], "what ran comes before those that wait")
      #expect(try await users[0].history().messages.last?.content == first.text)
    }
  }

  @Test("A dispatcher that is stopped in good order leaves the questions to the next one")
  func stoppedInGoodOrder() async throws {
    var setup = Self.slow(tokens: 60)
    setup.settings = "drain_timeout: 200ms"
    try await withPool(setup) { pool in
      let (one, two) = (ChatUser(pool), ChatUser(pool))
      let running = try await one.ask("one")
      try await running.next(until: { $0.type == "token" })
      let waiting = try await two.ask("two")
      #expect(try await waiting.next()?.position == 2)
      try await pool.stop()
      for stream in [running, waiting] {
        await #expect(throws: HTTPProbeError.self, "cut, and not ended") { try await stream.finish() }
        #expect(!stream.events.contains { $0.isEnd })
      }
      try pool.startAgain()
      _ = try await pool.status(until: "an instance takes requests") { $0.maxConcurrent == 1 }
      let first = try await one.follow(running.request, after: running.last)
      let second = try await two.follow(waiting.request, after: waiting.last)
      for stream in [first, second] {
        try await stream.finish()
        let tokens = stream.events.count { $0.type == "token" }
        #expect(stream.events.last?.type == "done" && tokens == 60)
      }
      #expect(first.events.first?.type == "restart")
    }
  }

  @Test("While a model loads a comment comes now and then, so that nobody between cuts the connection")
  func loading() async throws {
    try await withPool(Pool.Setup(simulator: ["LOAD_SECONDS": "16"])) { pool in
      let stream = try await ChatUser(pool).ask("one")
      try await stream.next(until: { $0.type == "token" })
      #expect(stream.comments > 0 && stream.events.count == 1)
      try await stream.finish()
      #expect(stream.events.last?.type == "done")
    }
  }

  @Test("A question that is refused leaves no trace")
  func refused() async throws {
    var setup = Pool.Setup()
    setup.settings = "classes: {standard: {requests_per_hour: 2}}"
    try await withPool(setup) { pool in
      let user = ChatUser(pool)
      for message in ["one", "two"] { try await user.ask(message).finish() }
      let third = try await user.send("POST", "/chat/stream", body: #"{"message":"three","model":"llama3.2"}"#)
      #expect(third.status == 429 && third.text.contains(#""code":"rate_limited""#), "\(third.text)")
      #expect(try #require(Int(third.head["Retry-After"] ?? "")) > 3_000)
      #expect(third.head["RateLimit-Limit"] == "2" && third.head["RateLimit-Remaining"] == "0")
      let asked = try await user.history().messages.filter { $0.role == "user" }.map(\.content)
      #expect(asked == ["one", "two"])
    }
  }

  @Test("Bad questions get an error that helps, and cookies that the pool never gave count for nothing")
  func badInput() async throws {
    var setup = Pool.Setup()
    setup.settings = "queue: {request_body: 64MiB}"
    try await withPool(setup) { pool in
      _ = try await pool.instancePort()
      for (body, status, code) in [
        ("", 400, "malformed_request"), ("x", 400, "malformed_request"), ("[]", 400, "malformed_request"),
        ("{}", 400, "malformed_request"), (#"{"message":7}"#, 400, "malformed_request"),
        (#"{"message":" \n "}"#, 400, "empty_message"), (#"{"message":"a","priority":-1}"#, 400, "malformed_request"),
        (#"{"message":"a"}"#, 400, "model_needed"), (#"{"message":"a","model":"nope"}"#, 404, "model_not_found"),
        (#"{"message":"\#(String(repeating: "a", count: 1 << 20))"}"#, 413, "body_too_large"),
      ] {
        let answer = try await pool.post("/chat/stream", body)
        #expect(answer.status == status && answer.text.contains(code), "\(body.prefix(40)): \(answer.text)")
      }
      let user = ChatUser(pool)
      try await user.ask("mine").finish()
      let cookie = try #require(user.cookie)
      for forged in [cookie + "x", String(cookie.dropLast()), "pool_session=x.y", "pool_session="] {
        user.cookie = forged
        #expect(try await user.history().messages.isEmpty)
      }
      user.cookie = cookie
      #expect(try await user.history().messages.count == 2)
    }
  }
}
