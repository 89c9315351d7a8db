import ControlInterface
import Foundation
import PoolConfiguration
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

/// What one user may ask within an hour and at once, over HTTP.
@Suite(.timeLimit(.minutes(2)))
struct LimitTests {
  @Test func theEleventhRequestWithinAnHourIsRefusedInEachDialectWithWhenToComeAgain() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key = try await rig.addKey("shop", className: "free")
      for number in 0..<10 {
        let answer = try await rig.serve(gpu0, number, key: key)
        #expect(answer.status == 200 && answer.head["RateLimit-Limit"] == "10")
        #expect(answer.head["RateLimit-Remaining"] == "\(9 - number)")
        #expect(answer.head["RateLimit-Policy"] == "10;w=3600")
        #expect((3_540...3_660).contains(Int(answer.head["RateLimit-Reset"] ?? "") ?? 0))
      }
      for spoken in Spoken.allCases {
        let refused = try await rig.send("POST", spoken.path, key: key, body: spoken.body).answer()
        #expect(refused.status == 429)
        #expect(spoken.errorMessage(refused.text)?.contains("within an hour") == true, "\(refused.text)")
        #expect(refused.head["RateLimit-Remaining"] == "0" && refused.head["RateLimit-Limit"] == "10")
        let pause = try #require(refused.head["Retry-After"].flatMap { Int($0) })
        #expect((3_480...3_660).contains(pause))
        #expect(abs(pause - (Int(refused.head["RateLimit-Reset"] ?? "") ?? 0)) <= 1)
      }
      let chat = try await rig.send("POST", "/chat/stream", key: key, body: #"{"message":"hello","model":"m"}"#)
      try await gpu0.ask(10).answer(#"{"models":[{"name":"m"}]}"#)
      let refused = try await chat.answer()
      #expect(refused.status == 429 && refused.head["RateLimit-Remaining"] == "0")
      #expect(refused.text.contains(#""code":"rate_limited""#) && refused.head["Retry-After"] != nil)
      // What takes no slot is not limited, and says nothing of it.
      let tags = try await rig.send("GET", "/api/tags", key: key, body: "")
      try await gpu0.ask(11).answer("{}")
      let listed = try await tags.answer()
      #expect(listed.status == 200 && listed.head["RateLimit-Limit"] == nil)
      #expect(try await rig.metric(#"ollama_pool_refusals_total{reason="rate_limited"}"#) == 4)
      try await rig.waitForJournal("its user has made as many requests within an hour as the class allows")

      // Somebody else is none the worse for it, and without a limit there is nothing to say.
      let free = try await rig.addKey("other")
      let answer = try await rig.serve(gpu0, 12, key: free)
      #expect(answer.status == 200)
      #expect(answer.head["RateLimit-Limit"] == nil && answer.head["RateLimit-Policy"] == nil)
    }
  }

  @Test func aChatStreamTellsWhatIsLeft() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key = try await rig.addKey("shop", requestsPerHour: 3)
      let chat = try await rig.send("POST", "/chat/stream", key: key, body: #"{"message":"hello","model":"m"}"#)
      try await gpu0.ask(0).answer(#"{"models":[{"name":"m"}]}"#)
      let head = try await chat.head()
      #expect(head.status == 200)
      #expect(head["RateLimit-Limit"] == "3" && head["RateLimit-Remaining"] == "2")
      await chat.close()
    }
  }

  @Test func whatWasUsedCountsOverARestart() async throws {
    let state = try TemporaryDirectory()
    var key = ""
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      key = try await rig.addKey("shop", requestsPerHour: 2)
      try await rig.serve(gpu0, 0, key: key)
    }
    for remaining in [0, nil] {
      try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
        let gpu0 = try await FakeOllama.start()
        try await rig.use(gpu0)
        guard let remaining else {
          #expect(try await rig.status(key: key) == 429)
          return
        }
        #expect(try await rig.serve(gpu0, 0, key: key).head["RateLimit-Remaining"] == "\(remaining)")
      }
    }
  }

  @Test func tokensOfQuestionsAndAnswersCount() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key = try await rig.addKey("shop", requestsPerHour: 100, tokensPerHour: 50)
      // Of 200 bytes or more: as many tokens as there may be. What is asked while some are left is answered whole.
      let long = String(repeating: "word ", count: 50)
      let client = try await rig.send(key: key, body: #"{"model":"m","prompt":"\#(long)"}"#)
      try await gpu0.ask(0).serve()
      let answer = try await client.answer()
      #expect(
        answer.status == 200 && answer.head["RateLimit-Limit"] == "50" && answer.head["RateLimit-Remaining"] == "0")
      #expect(answer.head["RateLimit-Policy"] == #"100;w=3600, 50;w=3600;comment="tokens""#)
      let refused = try await rig.send(key: key).answer()
      #expect(refused.status == 429 && refused.text.contains("reached the limit of an hour"))
      #expect(try await rig.metric(#"ollama_pool_refusals_total{reason="token_limited"}"#) == 1)
    }
  }

  @Test func aClassOfAnEarlierPriorityIsServedFirstAndAnOperatorMovesARequest() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await rig.generate("running")
      let asked = try await gpu0.ask(0)
      var keys: [String: String] = [:]
      for name in ["free", "standard", "enterprise"] { keys[name] = try await rig.addKey(name, className: name) }
      var clients: [HTTPProbe] = []
      for (count, name) in ["free", "free", "standard", "enterprise"].enumerated() {
        let body = #"{"model":"m","prompt":"\#(name) \#(count)"}"#
        clients.append(try await rig.send(key: keys[name], body: body))
        try await rig.waitForDepth(count + 1)
      }
      let positions = try await rig.requests().map(\.position)
      #expect(positions == [nil, 4, 5, 3, 2])
      let ids = try await rig.requests().map(\.id)
      try await rig.supervisor.order(.setPriority, DispatcherCalls.SetPriority(.id(ids[2]), priority: 0))
      let moved = try await rig.requests().map(\.position)
      #expect(moved == [nil, 5, 2, 4, 3], "it came before that of the enterprise")
      try await rig.waitForJournal("request \(ids[2]) (POST /api/generate) was moved to priority 0 by user")
      let error = try await #require(throws: VarlinkError.self) {
        try await rig.supervisor.order(.setPriority, DispatcherCalls.SetPriority(.id(ids[0]), priority: 0))
      }
      #expect("\(error)".contains("NotWaiting"))
      try await asked.serve()
      for (number, prompt) in ["free 1", "enterprise 3", "standard 2", "free 0"].enumerated() {
        let asked = try await gpu0.ask(number + 1)
        #expect(asked.body.contains("\"\(prompt)\""))
        try await asked.serve()
      }
      for client in clients + [running] { #expect(try await client.answer().status == 200) }
    }
  }

  @Test func soManyAtOnceAndNoMore() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let two = try await rig.addKey("two", concurrent: 2)
      let one = try await rig.addKey("one", waiting: 1)
      let running = try await rig.send(key: two)
      let asked = try await gpu0.ask(0)
      let waiting = [try await rig.send(key: two), try await rig.send(key: one)]
      try await rig.waitForDepth(2)
      for (key, code, word) in [
        (two, "too_many_concurrent", "open requests"), (one, "too_many_waiting", "waiting requests"),
      ] {
        let refused = try await rig.send(key: key).answer()
        #expect(refused.status == 429 && refused.text.contains(word), "\(refused.text)")
        #expect(Int(refused.head["Retry-After"] ?? "") ?? 0 > 0 && refused.head["RateLimit-Limit"] == nil)
        #expect(try await rig.metric("ollama_pool_refusals_total{reason=\"\(code)\"}") == 1)
      }
      // Each that ends makes room for one.
      try await asked.serve()
      #expect(try await running.answer().status == 200)
      let next = try await rig.send(key: two)
      try await rig.wait("it is in") { $0.depth + $0.inFlight == 3 }
      for number in 1...3 { try await gpu0.ask(number).serve() }
      for client in waiting + [next] { #expect(try await client.answer().status == 200) }
    }
  }
}
