import ControlInterface
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher

@Suite(.timeLimit(.minutes(1)))
struct ReloadTests {
  @Test func newBoundsHoldFromThenOnAndWhatRunsGoesOn() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await rig.generate("running")
      let asked = try await gpu0.ask()
      let waiting = try await rig.generate("waiting")
      try await rig.waitForDepth(1)
      #expect(try await rig.preflight("https://chat.example.org").status == 403)

      var settings = Settings()
      settings.listen = [.loopback(port: 0)]
      settings.metricsListen = .loopback(port: 0)
      settings.queue.requests = 1
      settings.queue.requestBody = ByteCount(bytes: 100)
      settings.origins = ["https://chat.example.org"]
      #expect(await rig.daemon.reload(settings) == [])

      #expect(try await rig.generate("too many").answer().status == 503)
      #expect(try await rig.generate(String(repeating: "x", count: 100)).answer().status == 413)
      #expect(try await rig.preflight("https://chat.example.org").status == 204)
      try await asked.serve()
      #expect(try await running.answer().status == 200)
      try await gpu0.ask(1).serve()
      #expect(try await waiting.answer().status == 200)
      try await rig.waitForJournal("the new configuration is in force\n")
    }
  }

  @Test func whatOnlyANewStartBringsIsNamed() async throws {
    try await DispatcherRig.run { rig in
      var settings = Settings()
      settings.metricsListen = nil
      #expect(await rig.daemon.reload(settings) == ["listen", "metrics_listen"])
      try await rig.waitForJournal("listen, metrics_listen only after a restart")
      #expect(await rig.daemon.reload(settings) == ["listen", "metrics_listen"], "they still wait")
    }
  }
}

extension DispatcherRig {
  fileprivate func preflight(_ origin: String) async throws -> HTTPProbe.Answer {
    try await HTTPProbe.exchange(
      "OPTIONS", "/api/chat", port: port,
      headers: [("Origin", origin), ("Access-Control-Request-Method", "POST")])
  }
}
