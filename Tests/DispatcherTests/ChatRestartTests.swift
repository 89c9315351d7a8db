import ControlInterface
import PoolConfiguration
import QueueStore
import TestSupport
import Testing

@testable import Dispatcher

/// What the chat makes of a restart, and of another configuration.
@Suite(.timeLimit(.minutes(1)))
struct ChatRestartTests {
  @Test func limitsThatAReloadBringsHoldOverAnOpenWebSocketToo() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key = try await rig.addKey("shop")
      let socket = try await rig.connect()
      try await socket.send(
        "GET", "/chat/ws",
        headers: [
          ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
          ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Authorization", "Bearer \(key)"),
        ])
      #expect(try await socket.head().status == 101)
      var settings = Settings()
      settings.listen = [.loopback(port: 0)]
      settings.metricsListen = .loopback(port: 0)
      settings.classes["standard"]?.concurrent = 1
      #expect(await rig.daemon.reload(settings) == [])

      let order = Array(#"{"type":"ask","message":"a","model":"m"}"#.utf8)
      // A text frame, masked with zeros.
      let frame = [0x81, 0x80 | UInt8(order.count), 0, 0, 0, 0] + order
      try await socket.send(raw: frame)
      try await gpu0.ask(0).answer(#"{"models":[{"name":"m"}]}"#)
      _ = try await gpu0.ask(1)
      try await socket.send(raw: frame)
      // What is not masked ends the connection.
      try await socket.send(raw: [0x81, 0x02, 0x7B, 0x7D])
      let told = try await socket.readUntilClosed()
      #expect(told.contains(#""type":"accepted""#) && told.contains(#""code":"too_many_concurrent""#), "\(told)")
    }
  }

  @Test func questionsWhoseClientsHadLeftWaitForThemAfterARestart() async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    var (key, left, after) = ("", "", TemporaryDirectory?.none)
    var clients: [HTTPProbe] = []
    try await DispatcherRig.runChat {
      $0.stateFolder = state.path
    } _: { rig, gpu0 in
      key = try await rig.addKey("ann")
      for message in ["runs", "leaves", "waits", "is back", "stays"] {
        clients.append(try await rig.askChat(message, key: key))
        let name = try #require(try await clients.last?.head()["X-Request-Id"])
        if message == "leaves" { left = name }
        if message == "is back" {
          await clients.removeLast().close()
          try await eventually("it is written down") { try await files.read().requests.last?.state == .suspended }
          clients.append(try await rig.send("GET", "/chat/stream/\(name)", key: key, body: ""))
          #expect(try await clients.last?.head().status == 200)
        }
      }
      await clients[1].close()
      await clients[0].close()
      try await eventually("both are written down") {
        let states = try await files.read().requests.map(\.state)
        return states == [.running, .suspended, .suspended, .waiting, .waiting]
      }
      let body = try await gpu0.ask(1).body
      #expect(body.contains("waits"))
      after = try files.copied()
    }
    let state2 = try #require(after)
    try await DispatcherRig.runChat {
      $0.stateFolder = state2.path
    } _: { rig, gpu0 in
      // What was being answered waits for its client, too: the first that is asked is the first that only waited.
      #expect(try await gpu0.ask(0).body.contains(#""content":"is back""#))
      let back = try await rig.send("GET", "/chat/stream/\(left)", key: key, body: "")
      #expect(try await back.head().status == 200)
      try await gpu0.ask(0).answerChat("done")
      #expect(try await gpu0.ask(1).body.contains(#""content":"leaves""#), "in its turn, once its client is back")
    }
  }

  @Test func whoLeavesWhileTheDispatcherStopsIsNotWaitedForAndMayComeBackToTheNextOne() async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    var (key, name, after) = ("", "", TemporaryDirectory?.none)
    try await DispatcherRig.runChat {
      $0.stateFolder = state.path
    } _: { rig, gpu0 in
      key = try await rig.addKey("ann")
      let client = try await rig.askChat("long", key: key)
      name = try #require(try await client.head()["X-Request-Id"])
      let asked = try await gpu0.ask(0)
      try await asked.begin()
      let drain = Task { await rig.daemon.drain(within: .seconds(60)) }
      try await rig.wait("it drains") { $0.draining }
      let left = ContinuousClock.now
      await client.close()
      await drain.value
      #expect(ContinuousClock.now - left < .seconds(20))
      try await asked.waitUntilClosed()
      try await eventually("it is written down") { try await files.read().requests.map(\.state) == [.suspended] }
      after = try files.copied()
    }
    let state2 = try #require(after)
    try await DispatcherRig.runChat {
      $0.stateFolder = state2.path
    } _: { rig, gpu0 in
      let client = try await rig.send("GET", "/chat/stream/\(name)", key: key, body: "")
      #expect(try await client.head().status == 200)
      try await gpu0.ask(0).answerChat("at last")
      #expect(try await client.rest().contains("at last"))
    }
  }

  @Test func aQuestionIsKnownByItsClientsNameAfterARestartToo() async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    let named = #","idempotency_key":"7""#
    var (key, name, after) = ("", String?.none, TemporaryDirectory?.none)
    var asking: HTTPProbe?
    try await DispatcherRig.runChat {
      $0.stateFolder = state.path
    } _: { rig, _ in
      key = try await rig.addKey("ann")
      asking = try await rig.askChat("a", key: key, more: named)
      name = try await asking?.head()["X-Request-Id"]
      after = try files.copied()
    }
    let state2 = try #require(after)
    try await DispatcherRig.runChat {
      $0.stateFolder = state2.path
    } _: { rig, gpu0 in
      let again = try await rig.askChat("a", key: key, more: named)
      #expect(try await again.head()["X-Request-Id"] == name && name != nil)
      try await gpu0.ask(0).answerChat("yes")
      #expect(try await again.rest().contains("yes"))
      #expect(gpu0.asked.count == 1)
    }
    _ = asking
  }

  @Test func whereAgeHasLiftedAQuestionIsWrittenDown() async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    try await DispatcherRig.run {
      $0.chat.defaultModel = "m"
      $0.queue.aging = .seconds(1)
    } options: {
      $0.stateFolder = state.path
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let running = try await rig.askChat("runs")
      _ = try await gpu0.ask(0)
      let waiting = try await rig.askChat("waits", more: #","priority":2"#)
      #expect(try await waiting.head().status == 200)
      #expect(try await files.read().requests.map(\.priority).first == "1")
      try await eventually("it is lifted") { try await files.read().requests.map(\.priority) == ["1", "0"] }
      _ = running
    }
  }

  @Test func aQuestionThatAnOperatorMovedStaysThereOverARestartAndAReload() async throws {
    let state = try TemporaryDirectory()
    let files = StoredFiles(state: state)
    var clients: [HTTPProbe] = []
    var after: TemporaryDirectory?
    try await DispatcherRig.run(options: { $0.stateFolder = state.path }) { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      for (number, message) in ["runs", "first", "second", "later"].enumerated() {
        let more = message == "later" ? #","priority":60"# : ""
        clients.append(
          try await rig.send("POST", "/chat/stream", body: #"{"message":"\#(message)","model":"m"\#(more)}"#))
        if number == 0 { try await gpu0.ask(0).answer(#"{"models":[{"name":"m"}]}"#) }
        #expect(try await clients[number].head().status == 200)
      }
      let second = try await rig.requests()[2].id
      try await rig.supervisor.order(.setPriority, DispatcherCalls.SetPriority(.id(second), priority: 0))
      #expect(try await rig.requests().map(\.position) == [nil, 3, 2, 4])
      try await eventually("it is written down") {
        try await files.read().requests.map(\.priority) == ["1", "1", "0", "60"]
      }
      after = try files.copied()
    }
    let state2 = try #require(after)
    try await DispatcherRig.run(options: { $0.stateFolder = state2.path }) { rig in
      // What ran waits for its client.
      let places = try await rig.requests().map(\.position)
      #expect(places == [nil, 2, 1, 3])
      var settings = Settings()
      settings.listen = [.loopback(port: 0)]
      settings.metricsListen = .loopback(port: 0)
      #expect(await rig.daemon.reload(settings) == [])
      #expect(try await rig.requests().map(\.position) == places)
      // Where the class itself moves, all of it moves.
      settings.classes["standard"]?.priority = 70
      #expect(await rig.daemon.reload(settings) == [])
      #expect(try await rig.requests().map(\.position) == [nil, 1, 2, 3])
    }
  }
}
