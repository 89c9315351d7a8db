import ControlInterface
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher

@Suite(.timeLimit(.minutes(2)))
struct FailureTests {
  @Test func aRequestWhoseConnectionBreaksBeforeTheFirstByteIsServedElsewhere() async throws {
    try await withTwo { rig, gpu0, gpu1 in
      let client = try await rig.generate()
      await (try await gpu0.ask()).breakOff()
      let asked = try await gpu1.ask()
      #expect(asked.body.contains("\"prompt\":\"hello\""))
      try await asked.serve()
      #expect(try await client.answer().text.contains("\"done\":true"))
      try await rig.waitForJournal("goes back to the queue: gpu0 failed before it answered")
    }
  }

  @Test func anInstanceThatIsGoneGetsNothingMoreAndItsRequestGoesElsewhere() async throws {
    try await withTwo { rig, gpu0, gpu1 in
      try await gpu0.die()
      let client = try await rig.generate()
      try await gpu1.ask().serve()
      #expect(try await client.answer().status == 200)
      let queue = try await rig.wait("gpu0 is unhealthy") { $0.instances.first?.health == .unhealthy }
      #expect(queue.maxConcurrent == 1)
      #expect(queue.instances[0].healthFinal == false)
    }
  }

  @Test func aStatusOf500OrAboveIsTriedElsewhereAndThenPassedOnAsItCame() async throws {
    try await withTwo { rig, gpu0, gpu1 in
      let client = try await rig.generate()
      try await gpu0.ask().answer(#"{"error":"first"}"#, status: 500)
      try await gpu1.ask().answer(#"{"error":"second"}"#, status: 500)
      let answer = try await client.answer()
      #expect(answer.status == 500)
      #expect(answer.text == #"{"error":"second"}"#)
      #expect(try await rig.queue().maxConcurrent == 2, "an error of a model is no fault of its instance")
    }
  }

  @Test func statusesBelow500ArePassedOnAtOnce() async throws {
    try await withTwo { rig, gpu0, gpu1 in
      let client = try await rig.generate()
      try await gpu0.ask().answer(#"{"error":"model 'm' not found"}"#, status: 404)
      let answer = try await client.answer()
      #expect(answer.status == 404)
      #expect(answer.text == #"{"error":"model 'm' not found"}"#)
      #expect(gpu1.asked.isEmpty)
    }
  }

  @Test(arguments: Spoken.allCases)
  func afterThreeAttemptsTheClientIsToldInItsDialect(_ spoken: Spoken) async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let client = try await rig.connect()
      try await client.send("POST", spoken.path, body: spoken.body)
      for attempt in 0..<3 { await (try await gpu0.ask(attempt)).breakOff() }
      let answer = try await client.answer()
      #expect(answer.status == 502)
      let message = try #require(spoken.errorMessage(answer.text), "not in the dialect: \(answer.text)")
      #expect(message.contains("several attempts failed"))
      #expect(!message.contains("gpu0") && !message.contains("127.0.0.1"), "nothing of the inside: \(message)")
      try await rig.waitForJournal("instance after instance failed")
    }
  }

  @Test(arguments: Spoken.allCases)
  func aStreamThatStandsStillMakesItsInstanceUnhealthyAndEndsWithAnErrorInItsDialect(_ spoken: Spoken) async throws {
    try await DispatcherRig.run {
      $0.health.stallTimeout = .seconds(1)
    } _: { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.use(gpu0)
      let stalled = try await rig.connect()
      try await stalled.send("POST", spoken.path, body: spoken.body)
      let asked = try await gpu0.ask()
      try await asked.begin(spoken.streamType)
      try await asked.chunk(spoken.firstChunk)
      let waiting = try await rig.generate("next")
      try await rig.waitForDepth(1)

      let answer = try await stalled.answer()
      #expect(answer.status == 200)
      #expect(answer.text.hasPrefix(spoken.firstChunk))
      let message = try #require(spoken.errorMessage(endOf: answer.text), "no error in the dialect: \(answer.text)")
      #expect(message.contains("stopped in the middle"))
      try await asked.waitUntilClosed()
      let queue = try await rig.queue()
      #expect(queue.instances[0].health == .unhealthy)
      #expect(queue.instances[0].healthFinal, "only a new process is believed again")
      #expect(queue.maxConcurrent == 0)
      try await rig.waitForJournal("gpu0 is unhealthy: a stream stood still for 1.0 s; 1 request interrupted")

      // Its replacement serves what waited.
      try await rig.setInstances([DispatcherRig.wanted(gpu1)])
      try await gpu1.ask().serve()
      #expect(try await waiting.answer().text.contains("\"done\":true"))
    }
  }

  @Test func anInstanceThatMissesThreeProbesLosesItsUnbegunRequestsToAnother() async throws {
    try await DispatcherRig.run {
      $0.health.probeTimeout = .milliseconds(100)
    } _: { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.use(gpu0)
      let client = try await rig.generate()
      let asked = try await gpu0.ask()
      gpu0.behave { $0.versionStatus = nil }
      try await rig.wait("gpu0 is unhealthy") { $0.instances[0].health == .unhealthy }
      try await asked.waitUntilClosed()
      #expect(try await rig.queue().depth == 1)

      try await rig.setInstances([DispatcherRig.wanted(gpu0), DispatcherRig.wanted(gpu1)])
      try await gpu1.ask().serve()
      #expect(try await client.answer().status == 200)

      gpu0.behave { $0.versionStatus = 200 }
      try await rig.waitForCapacity(2)
      try await rig.waitForJournal("gpu0 answers again")
    }
  }

  @Test func aStreamThatBeginsNowhereInTimeIsTriedOnceMoreAndCondemnsBoth() async throws {
    try await DispatcherRig.run {
      $0.health.firstByteLimit = .seconds(1)
    } _: { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.use(gpu0, gpu1)
      let client = try await rig.generate()
      let asked = [try await gpu0.ask(), try await gpu1.ask()]
      for asked in asked { try await asked.waitUntilClosed() }
      let answer = try await client.answer()
      #expect(answer.status == 504)
      #expect(answer.text.contains("did not answer in time"))
      let queue = try await rig.queue()
      #expect(queue.instances.filter(\.healthFinal).count == 2)
      #expect(gpu0.asked.count + gpu1.asked.count == 2)
    }
  }

  @Test func aDownloadThatIsNotStreamedMayBeSilentForLongerThanInference() async throws {
    try await DispatcherRig.run {
      $0.health.firstByteLimit = .seconds(1)
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let download = try await rig.connect()
      try await download.send("POST", "/api/pull", body: #"{"model":"m","stream":false}"#)
      let asked = try await gpu0.ask()
      // Later by far than the other one, which is past its limit.
      let generation = try await rig.generate(stream: false)
      #expect(try await generation.answer().status == 504)
      #expect(asked.isOpen)
      try await asked.answer(#"{"status":"success"}"#)
      #expect(try await download.answer().text == #"{"status":"success"}"#)
    }
  }

  @Test func anInstanceThatErrsWhereAnotherServesGetsNothingNewAndFinishesItsStream() async throws {
    try await DispatcherRig.run { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.setInstances([DispatcherRig.wanted(gpu0, slots: 2), DispatcherRig.wanted(gpu1, role: .surplus)])
      try await rig.waitForCapacity(3)
      let stream = try await rig.generate("long")
      let long = try await gpu0.ask(0)
      try await long.begin()
      _ = try await stream.head()
      for number in 0..<3 {
        let client = try await rig.generate("too large")
        try await gpu0.ask(number + 1).answer(#"{"error":"out of memory"}"#, status: 500)
        try await gpu1.ask(number).serve()
        #expect(try await client.answer().status == 200)
      }
      let queue = try await rig.wait("gpu0 is condemned") { $0.instances[0].healthFinal }
      #expect(queue.instances[0].leases == 1 && queue.maxConcurrent == 1)
      try await rig.waitForJournal("it finishes what it has begun")

      try await long.chunk(#"{"response":"","done":true,"done_reason":"stop"}"# + "\n")
      try await long.finish()
      var text = ""
      while let piece = try await stream.piece() { text += piece.text }
      #expect(text.contains(#""done":true"#))
      try await rig.wait("gpu0 is empty") { $0.instances[0].leases == 0 && $0.instances[0].idleSeconds != nil }
      #expect(try await rig.metric("ollama_pool_requests_total{outcome=\"failed\"}") == 0)
    }
  }

  @Test func aStreamWithoutItsEndMarkerIsNoSuccess() async throws {
    try await withTwo { rig, gpu0, _ in
      let client = try await rig.generate()
      let asked = try await gpu0.ask()
      try await asked.begin()
      try await asked.chunk(#"{"response":"he","done":false}"# + "\n")
      try await asked.finish()
      let answer = try await client.answer()
      #expect(Spoken.ollama.errorMessage(endOf: answer.text) != nil)
      try await eventually("the journal tells") { rig.journalText.contains("ended without its end marker") }
      #expect(try await rig.metric("ollama_pool_requests_total{outcome=\"failed\"}") == 1)
    }
  }

  @Test func aDeregisteredInstancesStreamsEndWithAnErrorAndTheOthersGoElsewhere() async throws {
    try await DispatcherRig.run { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.setInstances([DispatcherRig.wanted(gpu0, slots: 2)])
      try await rig.waitForCapacity(2)
      let begun = try await rig.generate("begun")
      try await gpu0.ask(0).begin()
      _ = try await begun.head()
      let unbegun = try await rig.generate("unbegun")
      _ = try await gpu0.ask(1)

      try await rig.setInstances([DispatcherRig.wanted(gpu1)])
      try await gpu1.ask().serve()
      #expect(try await unbegun.answer().text.contains("\"done\":true"))
      var text = ""
      while let piece = try await begun.piece() { text += piece.text }
      #expect(Spoken.ollama.errorMessage(endOf: text)?.contains("Please ask again") == true)
      try await rig.waitForJournal("gpu0 is deregistered; 1 request interrupted, 1 request put back")
    }
  }

  @Test func anUploadThatHasBegunIsNotSentElsewhere() async throws {
    try await withTwo { rig, gpu0, gpu1 in
      let client = try await rig.connect()
      try await client.send(
        "POST", "/api/blobs/sha256:abc", headers: [("Content-Length", "8")], body: "")
      try await client.send(raw: "half")
      try await rig.wait("it holds a reference") { $0.instances[0].references == 1 }
      try await gpu0.die()
      #expect(try await client.answer().status == 502)
      #expect(gpu1.asked.isEmpty)
      try await rig.wait("nothing is held") { $0.instances.allSatisfy { $0.references == 0 } }
    }
  }

  private func withTwo(_ body: (DispatcherRig, FakeOllama, FakeOllama) async throws -> Void) async throws {
    try await DispatcherRig.run { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.use(gpu0, gpu1)
      try await body(rig, gpu0, gpu1)
    }
  }
}
