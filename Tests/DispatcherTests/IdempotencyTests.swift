import ControlInterface
import PoolConfiguration
import TestSupport
import Testing

@testable import Dispatcher

/// A question that comes twice by the same name of its client's is asked once.
@Suite(.timeLimit(.minutes(1)))
struct IdempotencyTests {
  private static let named = #","idempotency_key":"6f1c9a52""#

  @Test func whoLostTheHeadOfTheAnswerFindsItsQuestion() async throws {
    try await DispatcherRig.runChat { rig, gpu0 in
      let before = try await rig.askChat("before")
      let cookie = try #require(try await before.head().cookie)
      _ = try await gpu0.ask(0)
      let first = try await rig.askChat("a", cookie: cookie, more: Self.named)
      let name = try #require(try await first.head()["X-Request-Id"])
      let second = try await rig.askChat("a", cookie: cookie, more: Self.named)
      #expect(try await second.head()["X-Request-Id"] == name)
      await first.close()
      try await gpu0.ask(0).answerChat("to before")
      #expect(try await before.rest().contains("to before"))
      try await gpu0.ask(1).answerChat("to a")
      let told = try await second.rest()
      #expect(told.contains("to a") && told.contains(#""type":"done""#))
      // As long as the question is known, also once it is answered.
      let third = try await rig.askChat("a", cookie: cookie, more: Self.named).answer()
      #expect(third.head["X-Request-Id"] == name && third.text.contains("to a"))
      let history = try await rig.send("GET", "/chat/history", headers: [("Cookie", cookie)], body: "").answer()
      #expect(history.text.ranges(of: #""content":"a""#).count == 1)
      #expect(history.text.ranges(of: Self.named).count == 1, "for whoever comes too late for it")
      #expect(gpu0.asked.count == 2)
    }
  }

  @Test func twoThatComeAtTheSameMomentAreOne() async throws {
    try await DispatcherRig.runChat { rig, gpu0 in
      let key = try await rig.addKey("ann")
      var clients: [HTTPProbe] = []
      for _ in 0..<10 { clients.append(try await rig.askChat("a", key: key, more: Self.named)) }
      var names: Set<String?> = []
      for client in clients { names.insert(try await client.head()["X-Request-Id"]) }
      #expect(names.count == 1)
      try await gpu0.ask(0).answerChat("yes")
      for client in clients { #expect(try await client.rest().contains("yes")) }
      #expect(gpu0.asked.count == 1)
    }
  }

  @Test func whoLostTheHeadOfTheVeryFirstAnswerFindsItToo() async throws {
    try await DispatcherRig.run {
      $0.chat.defaultModel = "m"
    } _: { rig in
      func visit(_ cookie: String? = nil) async throws -> String? {
        let headers = cookie.map { [("Cookie", $0)] } ?? []
        return try await rig.send("GET", "/chat/session", headers: headers, body: "").answer().head.cookie
      }
      let (mine, theirs) = (try #require(try await visit()), try #require(try await visit()))
      #expect(try await visit(mine) == nil, "it has one")
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)

      let lost = try await rig.askChat("a", cookie: mine, more: Self.named)
      let answer = try await gpu0.ask(0)
      let again = try await rig.askChat("a", cookie: mine, more: Self.named)
      let head = try await again.head()
      let other = try await rig.askChat("a", cookie: theirs, more: Self.named).head()
      #expect(other["X-Request-Id"] != head["X-Request-Id"], "a name is one visitor's alone")
      try await answer.answerChat("yes")
      #expect(try await again.rest().contains("yes"))
      let begun = try #require(head.cookie)
      for cookie in [mine, begun] {
        let history = try await rig.send("GET", "/chat/history", headers: [("Cookie", cookie)], body: "").answer()
        #expect(history.text.ranges(of: #""content":"a""#).count == 1)
      }
      #expect(try await rig.status("DELETE", "/chat/session", headers: [("Cookie", begun)], body: "") == 204)
      let next = try await rig.askChat("b", cookie: begun).head()
      #expect(next.cookie != nil && next.cookie != begun, "what has gone does not begin again")
      await lost.close()
    }
  }

  @Test func aNameIsOneSessionsAlone() async throws {
    try await DispatcherRig.runChat { rig, _ in
      let first = try await rig.askChat("a", more: Self.named).head()
      let stranger = try await rig.askChat("a", more: Self.named).head()
      let other = try await rig.askChat("a", cookie: stranger.cookie, more: #","idempotency_key":"another""#).head()
      let again = try await rig.askChat("a", cookie: first.cookie, more: Self.named).head()
      let names = [first, stranger, other].map { $0["X-Request-Id"] }
      #expect(Set(names).count == 3 && again["X-Request-Id"] == names[0])
    }
  }

  @Test func overAWebSocketToo() async throws {
    try await DispatcherRig.runChat { rig, gpu0 in
      let socket = try await rig.openSocket()
      #expect(try await socket.head().status == 101)
      for tag in ["a", "b"] {
        try await socket.say(#"{"type":"ask","message":"a","tag":"\#(tag)"\#(Self.named)}"#)
        try await rig.wait("it was taken") { $0.inFlight == 1 }
      }
      try await gpu0.ask(0).answerChat("yes")
      try await rig.wait("it is answered") { $0.inFlight == 0 }
      try await socket.breakRules()
      let told = try await socket.readUntilClosed()
      #expect(told.ranges(of: #""type":"accepted""#).count == 2 && told.contains(#""type":"done""#), "\(told)")
      #expect(gpu0.asked.count == 1)
    }
  }
}
