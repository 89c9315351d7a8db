import ControlInterface
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher

@Suite(.timeLimit(.minutes(2)))
struct EndpointTests {
  @Test func theRootAnswersWithoutAnyInstance() async throws {
    try await DispatcherRig.run { rig in
      let answer = try await rig.get("/")
      #expect(answer.status == 200)
      #expect(answer.text == "Ollama is running")
      let head = try await HTTPProbe.exchange("HEAD", "/", port: rig.port)
      #expect(head.status == 200)
      #expect(head.head["Content-Length"] == "17")
    }
  }

  @Test func metadataGoesStraightToAnInstanceAlsoWhileAllSlotsAreTaken() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.use(gpu0)
      let busy = try await rig.generate()
      _ = try await gpu0.ask(0)
      #expect(try await rig.get("/api/version").text == #"{"version":"0.0.0"}"#)
      let tags = try await rig.connect()
      try await tags.send("GET", "/api/tags")
      try await gpu0.ask(1).answer(#"{"models":[{"name":"m"}]}"#)
      #expect(try await tags.answer().text == #"{"models":[{"name":"m"}]}"#)
      #expect(try await rig.queue().inFlight == 1)
      await busy.close()
    }
  }

  @Test func metadataWaitsForTheFirstInstanceAndCountsInTheDepth() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      let client = try await rig.connect()
      try await client.send("GET", "/api/version")
      try await rig.waitForDepth(1)
      try await rig.use(gpu0)
      #expect(try await client.answer().status == 200)
    }
  }

  @Test func changesOfTheModelStoreAllGoToTheSameInstance() async throws {
    try await DispatcherRig.run { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      try await rig.use(gpu0, gpu1)
      let busy = try await rig.generate()
      _ = try await gpu0.ask(0)
      var clients: [HTTPProbe] = []
      for number in 1...3 {
        let client = try await rig.connect()
        try await client.send("POST", "/api/pull", body: #"{"model":"m\#(number)"}"#)
        #expect(try await gpu0.ask(number).path == "/api/pull")
        clients.append(client)
      }
      #expect(gpu1.asked.isEmpty)
      for (number, client) in clients.enumerated() {
        let asked = try await gpu0.ask(number + 1)
        try await asked.begin()
        try await asked.chunk(#"{"status":"success"}"# + "\n")
        try await asked.finish()
        #expect(try await client.answer().text.contains("success"))
      }
      await busy.close()
    }
  }

  @Test func theProcessListIsThatOfAllInstancesThatAnswer() async throws {
    try await DispatcherRig.run { rig in
      let instances = (
        try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"), try await FakeOllama.start("gpu2")
      )
      instances.0.behave { $0.processList = #"{"models":[{"name":"a","size":1.50},{"name":"b"}]}"# }
      instances.1.behave { $0.processList = nil }
      instances.2.behave { $0.processList = #"{"models":[{"name":"c"}]}"# }
      try await rig.use(instances.0, instances.1, instances.2)
      let answer = try await rig.get("/api/ps")
      #expect(answer.status == 200)
      #expect(answer.head["Content-Type"] == "application/json; charset=utf-8")
      #expect(answer.text == #"{"models":[{"name":"a","size":1.50},{"name":"b"},{"name":"c"}]}"#)
    }
  }

  @Test func withoutInstancesTheProcessListIsEmpty() async throws {
    try await DispatcherRig.run { rig in
      let answer = try await rig.get("/api/ps")
      #expect(answer.text == #"{"models":[]}"#)
      #expect(try await rig.queue().depth == 0)
    }
  }

  @Test func whatIsNotThereIs404AndAWrongMethod405() async throws {
    try await DispatcherRig.run { rig in
      let answer = try await rig.get("/api/nothing")
      #expect(answer.status == 404)
      #expect(try await rig.get("/api/chat").status == 405)
    }
  }

  @Test func aBodyThatIsTooLargeIsRefusedByTheConfiguredLimit() async throws {
    try await DispatcherRig.run {
      $0.queue.requestBody = ByteCount(bytes: 1000)
    } _: { rig in
      let large = String(repeating: "x", count: 1001)
      let answer = try await HTTPProbe.exchange("POST", "/v1/chat/completions", port: rig.port, body: large)
      #expect(answer.status == 413)
      #expect(Spoken.openAI.errorMessage(answer.text) != nil)
    }
  }
}
