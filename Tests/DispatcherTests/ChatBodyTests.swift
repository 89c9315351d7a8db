import NIOCore
import PoolConfiguration
import TestSupport
import Testing

@testable import Dispatcher

/// What the model is told.
@Suite(.timeLimit(.minutes(1)))
struct ChatBodyTests {
  private static let models = #"{"models":[{"name":"m"}]}"#

  private func ask(_ rig: DispatcherRig, _ message: String, _ cookie: String? = nil) async throws -> HTTPProbe {
    try await rig.send(
      "POST", "/chat/stream", headers: cookie.map { [("Cookie", $0)] } ?? [],
      body: #"{"message":"\#(message)","model":"m"}"#)
  }

  private func answer(_ asked: Asked, _ text: String) async throws {
    try await asked.begin()
    try await asked.chunk(#"{"message":{"role":"assistant","content":"\#(text)"},"done":false}"# + "\n")
    try await asked.chunk(#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"# + "\n")
    try await asked.finish()
  }

  @Test(arguments: [0, 100]) func whatWasSaidBeforeAndThenTheQuestion(_ historyMessages: Int) async throws {
    try await DispatcherRig.run {
      $0.chat.historyMessages = historyMessages
      $0.chat.instructions = "Be brief."
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let first = try await ask(rig, "one")
      try await gpu0.ask(0).answer(Self.models)
      try await answer(gpu0.ask(1), "answer to one")
      let head = try await first.head()
      while try await first.piece() != nil {}
      let cookie = try #require(head["Set-Cookie"]?.split(separator: ";").first)
      let second = try await ask(rig, "two", String(cookie))
      let before =
        historyMessages == 0
        ? "" : #"{"role":"user","content":"one"},{"role":"assistant","content":"answer to one"},"#
      #expect(
        try await gpu0.ask(2).body
          == #"{"model":"m","stream":true,"messages":[{"role":"system","content":"Be brief."},"# + before
          + #"{"role":"user","content":"two"}]}"#)
      await second.close()
    }
  }

  @Test func aQuestionIsAskedWholeHoweverLongItIs() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let long = String(repeating: "word ", count: 180_000)
      let asking = try await ask(rig, long)
      try await gpu0.ask(0).answer(Self.models)
      #expect(try await asking.head().status == 200)
      let body = try await gpu0.ask(1).body
      #expect(body == #"{"model":"m","stream":true,"messages":[{"role":"user","content":"\#(long)"}]}"#)
    }
  }

  @Test func eachQuestionIsToldWithItsOwnAnswer() async throws {
    try await DispatcherRig.run {
      $0.chat.defaultModel = "m"
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.setInstances([DispatcherRig.wanted(gpu0, slots: 2)])
      try await rig.waitForCapacity(2)
      let one = try await rig.askChat("one")
      let cookie = try #require(try await one.head().cookie)
      _ = try await gpu0.ask(0)
      let two = try await rig.askChat("two", cookie: cookie)
      try await gpu0.ask(1).answerChat("re two")
      #expect(try await two.answer().text.contains("re two"))
      try await gpu0.ask(0).answerChat("re one")
      #expect(try await one.rest().contains("re one"))
      let three = try await rig.askChat("three", cookie: cookie)
      #expect(
        try await gpu0.ask(2).body
          == #"{"model":"m","stream":true,"messages":[{"role":"user","content":"one"},"#
          + #"{"role":"assistant","content":"re one"},{"role":"user","content":"two"},"#
          + #"{"role":"assistant","content":"re two"},{"role":"user","content":"three"}]}"#)
      await three.close()
    }
  }

  @Test func whatIsForgottenWhileItIsAnsweredStaysForgotten() async throws {
    try await DispatcherRig.runChat { rig, gpu0 in
      let asking = try await rig.askChat("a secret")
      let mine = [("Cookie", try #require(try await asking.head().cookie))]
      let asked = try await gpu0.ask(0)
      #expect(try await rig.status("DELETE", "/chat/history", headers: mine, body: "") == 204)
      try await asked.answerChat("about the secret")
      #expect(try await asking.rest().contains("about the secret"))
      let history = try await rig.send("GET", "/chat/history", headers: mine, body: "").answer()
      #expect(history.text == #"{"messages":[],"open":[]}"#)
      let next = try await rig.askChat("next", headers: mine)
      let body = try await gpu0.ask(1).body
      #expect(body == #"{"model":"m","stream":true,"messages":[{"role":"user","content":"next"}]}"#)
      await next.close()
    }
  }

  @Test func aLongAnswerErasesNothing() async throws {
    try await DispatcherRig.runChat { rig, gpu0 in
      let one = try await rig.askChat("one")
      let cookie = try #require(try await one.head().cookie)
      try await gpu0.ask(0).answerChat("answer to one")
      #expect(try await one.rest().contains("answer to one"))
      let two = try await rig.askChat("two", cookie: cookie)
      try await gpu0.ask(1).answerChat(String(repeating: "word ", count: 400_000))
      #expect(try await two.answer().text.utf8.count > 2_000_000, "whoever asked has all of it")
      let three = try await rig.askChat("three", cookie: cookie)
      let body = try await gpu0.ask(2).body
      let before =
        #"{"model":"m","stream":true,"messages":[{"role":"user","content":"one"},"#
        + #"{"role":"assistant","content":"answer to one"},{"role":"user","content":"two"},"#
        + #"{"role":"assistant","content":"word word "#
      #expect(body.hasPrefix(before) && body.hasSuffix(#"…"},{"role":"user","content":"three"}]}"#))
      #expect(body.utf8.count < 132 << 10)
      await three.close()
    }
  }

  @Test func aQuestionThatWaitsIsAskedThoughItsHistoryIsForgotten() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await ask(rig, "one")
      try await gpu0.ask(0).answer(Self.models)
      _ = try await gpu0.ask(1)
      let waiting = try await ask(rig, "two")
      let cookie = try #require(try await waiting.head()["Set-Cookie"]?.split(separator: ";").first)
      let forgotten = try await rig.status("DELETE", "/chat/history", headers: [("Cookie", String(cookie))], body: "")
      #expect(forgotten == 204)
      try await answer(gpu0.ask(1), "done")
      #expect(try await running.head().status == 200)
      let body = try await gpu0.ask(2).body
      #expect(body == #"{"model":"m","stream":true,"messages":[{"role":"user","content":"two"}]}"#)
    }
  }
}
