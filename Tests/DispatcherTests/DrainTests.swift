import ControlInterface
import Glibc
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher

@Suite(.timeLimit(.minutes(2)))
struct DrainTests {
  @Test func whatRunsEndsByItselfWhatWaitsIsRefusedAndNothingNewIsAccepted() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await rig.generate("running")
      let asked = try await gpu0.ask()
      try await asked.begin()
      _ = try await running.head()
      let waiting = try await rig.generate("waiting")
      try await rig.waitForDepth(1)
      let capacity = try await rig.watchCapacity()

      let drain = Task { await rig.daemon.drain(within: .seconds(60)) }
      let refused = try await waiting.answer()
      #expect(refused.status == 503)
      #expect(refused.head["Retry-After"] != nil)
      #expect(refused.text.contains("being stopped or restarted"))
      try await rig.wait("it says that it drains") { $0.draining }
      try await capacity.wait("front ends are told") { $0.last?.maxConcurrent == 0 }
      #expect(try await rig.console("/readyz").status == 503)
      await #expect(throws: (any Error).self) { try await rig.generate("late").answer() }

      try await asked.chunk(#"{"response":"","done":true}"# + "\n")
      try await asked.finish()
      let piece = try await running.piece()
      #expect(piece?.text.contains("\"done\":true") == true)
      await drain.value
      try await rig.waitForJournal("stopping: waiting for 1 request to end; 1 waiting request refused")
      try await rig.waitForJournal("stopped serving: no request is left")
    }
  }

  @Test func questionsOfTheChatAreKeptForTheNextStartAndCountAsNothingThatWasRefused() async throws {
    try await DispatcherRig.runChat { rig, _ in
      var clients: [HTTPProbe] = []
      for message in ["runs", "waits", "waits too"] {
        clients.append(try await rig.askChat(message))
        #expect(try await clients.last?.head().status == 200)
      }
      let refused = try await rig.generate("refused")
      try await rig.waitForDepth(3)
      let drain = Task { await rig.daemon.drain(within: .milliseconds(300)) }
      #expect(try await refused.answer().status == 503)
      for client in clients { #expect(try await !client.readUntilClosed().contains(#""type":"error""#)) }
      await drain.value
      let kept = "; 2 waiting questions kept for the next start; 1 waiting request refused"
      try await rig.waitForJournal("stopping: waiting for 1 request to end\(kept)")
      #expect(rig.journalText.matches(of: /was not served/).count == 1, "\(rig.journalText)")
      #expect(try await rig.metric(#"ollama_pool_requests_total{outcome="refused"}"#) == 1)
      #expect(try await rig.metric(#"ollama_pool_requests_total{outcome="failed"}"#) == 0)
    }
  }

  @Test func whatStillRunsAtTheDeadlineIsCutWithAnErrorInItsDialect() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await rig.generate("running")
      let asked = try await gpu0.ask()
      try await asked.begin()
      _ = try await running.head()
      let clock = ContinuousClock()
      let begun = clock.now
      await rig.daemon.drain(within: .milliseconds(300))
      #expect(clock.now - begun >= .milliseconds(300))
      #expect(clock.now - begun < .seconds(10))
      let piece = try #require(try await running.piece())
      #expect(Spoken.ollama.errorMessage(endOf: piece.text)?.contains("being stopped") == true)
      try await asked.waitUntilClosed()
    }
  }

  @Test func aSecondOrderMakesTheTimeShorter() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await rig.generate("running")
      let asked = try await gpu0.ask()
      let drain = Task { await rig.daemon.drain(within: .seconds(60)) }
      try await rig.wait("it drains") { $0.draining }
      await rig.daemon.drain(within: .zero)
      await drain.value
      #expect(try await running.answer().status == 503)
      try await asked.waitUntilClosed()
    }
  }

  @Test func anIdlePoolIsDrainedAtOnce() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let idle = try await rig.connect()
      let clock = ContinuousClock()
      let begun = clock.now
      await rig.daemon.drain(within: .seconds(60))
      #expect(clock.now - begun < .seconds(5))
      #expect(try await idle.readUntilClosed().isEmpty)
    }
  }

  @Test func aDaemonThatIsClosedEndsItsConnectionsAndItsSocket() async throws {
    var client: HTTPProbe?
    var socket = ""
    try await DispatcherRig.run { rig in
      client = try await rig.generate()
      try await rig.waitForDepth(1)
      socket = rig.socket
    }
    let rest = try await client?.readUntilClosed()
    #expect(rest == "")
    #expect(access(socket, F_OK) != 0)
  }
}
