import ControlInterface
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher

/// Models that are computed elsewhere, and those of which only the name says so.
@Suite(.timeLimit(.minutes(1)))
struct RemoteModelTests {
  private func body(_ model: String) -> String { #"{"model":"\#(model)","prompt":"hello"}"# }

  @Test func whatIsComputedElsewherePassesByTheQueueAndCountsForItsUsersLimits() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let key = try await rig.addKey("shop", requestsPerHour: 2)
      let running = try await rig.send(key: try await rig.addKey("other"))
      let here = try await gpu0.ask(0)
      for number in 1...2 {
        let client = try await rig.send(key: key, body: body("gpt-oss:120b-cloud"))
        try await gpu0.ask(number).serve()
        let answer = try await client.answer()
        #expect(answer.status == 200 && answer.head["RateLimit-Remaining"] == "\(2 - number)")
      }
      #expect(try await rig.queue().inFlight == 1)
      let refused = try await rig.send(key: key, body: body("gpt-oss:120b-cloud")).answer()
      #expect(refused.status == 429 && refused.head["RateLimit-Remaining"] == "0")
      try await here.serve()
      #expect(try await running.answer().status == 200)
    }
  }

  @Test func aLocalModelWithSuchANameTakesASlot() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let copy = try await rig.send("POST", "/api/copy", body: #"{"source":"m","destination":"m:mine-cloud"}"#)
      gpu0.behave { $0.modelList = #"{"models":[{"name":"m:mine-cloud"},{"name":"x:cloud","remote_host":"h"}]}"# }
      try await gpu0.ask(0).answer("")
      #expect(try await copy.answer().status == 200)
      let running = try await rig.generate("here")
      let here = try await gpu0.ask(1)
      // What is listed as elsewhere is served beside it, once the list is there.
      try await eventually("x:cloud passes by") {
        let client = try await rig.send(body: body("x:cloud"))
        try await eventually("it is asked, or waits") { try await rig.queue().depth == 1 || gpu0.asked.count == 3 }
        let isThrough = gpu0.asked.count == 3
        if isThrough { try await gpu0.ask(2).serve() }
        await client.close()
        try await rig.waitForDepth(0)
        return isThrough
      }
      let clients = [try await rig.send(body: body("m:Mine-Cloud")), try await rig.send(body: body("m:mine-cloud"))]
      try await rig.waitForDepth(2)
      try await here.serve()
      for number in [3, 4] { try await gpu0.ask(number).serve() }
      for client in clients + [running] { #expect(try await client.answer().status == 200) }
    }
  }

  @Test func sinceModelsHaveChangedNoneIsElsewhereBeforeTheNextList() {
    var places = ModelPlaces()
    func asks(at seconds: Int = 0) -> Bool {
      places.asks(noOlderThan: .seconds(10), at: Instant.zero + .seconds(seconds))
    }
    #expect(places.need(of: "m") == .slot && places.need(of: nil) == .slot)
    // Without an instance that could tell, the name does.
    #expect(places.need(of: "m:cloud") == .remoteInference)
    #expect(asks() && !asks())
    places.changed()
    #expect(places.need(of: "m:cloud") == .slot)
    places.listed([], at: .zero)
    #expect(places.need(of: "m:cloud") == .slot, "it was asked for before the change")
    #expect(asks())
    places.listed(nil, at: .zero)
    #expect(places.need(of: "m:cloud") == .slot && asks())
    places.listed(["n:cloud"], at: .zero)
    #expect(places.need(of: "m:cloud") == .remoteInference && places.need(of: "N:cloud") == .slot)
    #expect(!asks(at: 9))
    #expect(asks(at: 10))
  }
}
