import ControlInterface
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher

/// Instances for some models only, and changes of the model store.
@Suite(.timeLimit(.minutes(2)))
struct ReservedTests {
  @Test(arguments: Spoken.allCases)
  func whatChangesTheStoreIsRefusedInTheCallersDialectWithTheRemedy(spoken: Spoken) async throws {
    // The routes that change it are Ollama's; inference goes on in every dialect.
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      let refusal = "The models belong to ollama.service: use ollama pull on the server."
      try await rig.supervisor.order(
        .setInstances,
        DispatcherCalls.SetInstances(
          instances: [.init(DispatcherRig.wanted(gpu0))], storeRefusal: refusal))
      try await rig.waitForCapacity(1)
      for (method, path) in [
        ("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"), ("POST", "/api/copy"),
        ("DELETE", "/api/delete"), ("POST", "/api/blobs/sha256:0"),
      ] {
        let client = try await rig.connect()
        try await client.send(method, path, body: #"{"model":"m"}"#)
        let answer = try await client.answer()
        #expect(answer.status == 403, "\(path)")
        #expect(Spoken.ollama.errorMessage(answer.text) == refusal)
      }
      #expect(try await rig.metric("ollama_pool_refusals_total{reason=\"store_refused\"}") == 6)
      for (number, path) in [spoken.path, "/api/me"].enumerated() {
        let client = try await rig.connect()
        try await client.send("POST", path, body: spoken.body)
        try await gpu0.ask(number).answer("{}", status: 404)
        #expect(try await client.answer().status == 404)
      }
      #expect(gpu0.asked.count == 2)
    }
  }

  @Test func whatWaitsForAWriterIsRefusedWhenTheStoreIsClosed() async throws {
    try await DispatcherRig.run { rig in
      let client = try await rig.connect()
      try await client.send("POST", "/api/pull", body: #"{"model":"m"}"#)
      try await rig.waitForDepth(1)
      try await rig.supervisor.order(
        .setInstances, DispatcherCalls.SetInstances(instances: [], storeRefusal: "Not here."))
      #expect(try await client.answer().status == 403)
      // Open again, it waits, and wakes the supervisor.
      try await rig.supervisor.order(.setInstances, DispatcherCalls.SetInstances(instances: []))
      let second = try await rig.connect()
      try await second.send("POST", "/api/pull", body: #"{"model":"m"}"#)
      try await rig.waitForDepth(1)
    }
  }

  @Test func changesOfTheStoreGoThroughTheOneInstanceThatMayMakeThem() async throws {
    try await DispatcherRig.run { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      var wanted = [DispatcherRig.wanted(gpu0), DispatcherRig.wanted(gpu1)]
      wanted[0].writesStore = false
      wanted[1].writesStore = true
      try await rig.setInstances(wanted)
      try await rig.waitForCapacity(2)
      let client = try await rig.connect()
      try await client.send("POST", "/api/pull", body: #"{"model":"m"}"#)
      try await gpu1.ask().answer(#"{"status":"success"}"# + "\n")
      #expect(try await client.answer().status == 200)
      #expect(gpu0.asked.isEmpty)
      wanted[0].writesStore = true
      await #expect(throws: (any Error).self) { try await rig.setInstances(wanted) }
      let tooLong = DispatcherCalls.SetInstances(instances: [], storeRefusal: String(repeating: "x", count: 16385))
      await #expect(throws: (any Error).self) { try await rig.supervisor.order(.setInstances, tooLong) }
      #expect(try await rig.queue().instances.count == 2)
      // "The model store … is not there: `install -d …`"
      let deepest = "/" + String(repeating: "x", count: 4094)
      try await rig.supervisor.order(
        .setInstances, DispatcherCalls.SetInstances(instances: [], storeRefusal: "\(deepest) \(deepest) \(deepest)"))
    }
  }

  @Test(arguments: Spoken.allCases)
  func aModelThatIsNotServedIsRefusedWithTheNamesOfThoseThatAre(spoken: Spoken) async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      // Whether an instance for them runs now or not.
      try await rig.supervisor.order(
        .setInstances,
        DispatcherCalls.SetInstances(
          instances: [.init(DispatcherRig.wanted(gpu0, models: ["B"]))], models: ["B", "a:1b"]))
      try await rig.waitForCapacity(1)
      let client = try await rig.connect()
      try await client.send("POST", spoken.path, body: spoken.body)
      let answer = try await client.answer()
      #expect(answer.status == 404)
      #expect(
        spoken.errorMessage(answer.text) == "This model is not served here. It is reserved for a:1b, b:latest.")
      #expect(gpu0.asked.isEmpty)
    }
  }
}
