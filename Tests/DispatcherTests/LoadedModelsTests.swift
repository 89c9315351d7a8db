import ControlInterface
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher

/// What instances hold in memory, over real sockets.
@Suite(.timeLimit(.minutes(2)))
struct LoadedModelsTests {
  private static func list(_ names: String..., onGPU: Int = 100) -> String {
    let entries = names.map { #"{"name":"\#($0)","size":100,"size_vram":\#(onGPU),"context_length":4096}"# }
    return #"{"models":[\#(entries.joined(separator: ","))]}"#
  }

  @Test func whatAnInstanceHoldsIsToldToTheSupervisor() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      gpu0.behave { $0.processList = Self.list("Llama3.2", onGPU: 60) }
      try await rig.use(gpu0)
      let queue = try await rig.wait("the list is there") { $0.instances[0].loaded?.isEmpty == false }
      let model = try #require(queue.instances[0].loaded?.first)
      #expect(model.name == "llama3.2:latest" && model.contextLength == 4096)
      #expect(model.sizeBytes == 100 && model.sizeOnGPUBytes == 60)
    }
  }

  @Test func aRequestGoesToTheInstanceThatHoldsItsModel() async throws {
    try await DispatcherRig.run { rig in
      let (gpu0, gpu1) = (try await FakeOllama.start("gpu0"), try await FakeOllama.start("gpu1"))
      gpu1.behave { $0.processList = Self.list("m:latest") }
      try await rig.use(gpu0, gpu1)
      try await rig.wait("gpu1's list is there") { $0.instances[1].loaded?.isEmpty == false }
      let client = try await rig.generate(model: "M")
      try await gpu1.ask().serve()
      #expect(try await client.answer().status == 200)
      #expect(gpu0.asked.isEmpty)
    }
  }

  @Test func anInstanceWhoseListStallsServesAsBefore() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      gpu0.behave { $0.processList = nil }
      try await rig.use(gpu0)
      let client = try await rig.generate()
      try await gpu0.ask().serve()
      #expect(try await client.answer().status == 200)
      let queue = try await rig.queue()
      #expect(queue.instances[0].health == .healthy && queue.instances[0].loaded == nil)
    }
  }

  @Test func oneModelsLoadIsNotInAnothersWay() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.setInstances([DispatcherRig.wanted(gpu0, slots: 2)])
      try await rig.waitForCapacity(2)
      let first = try await rig.generate(model: "a")
      let load = try await gpu0.ask(0)
      let second = try await rig.generate(model: "b")
      try await rig.waitForDepth(1)
      #expect(gpu0.asked.count == 1)
      try await load.begin()
      let other = try await gpu0.ask(1)
      #expect(other.body.contains(#""model":"b""#))
      try await other.serve()
      #expect(try await second.answer().status == 200)
      try await load.chunk(#"{"done":true}"# + "\n")
      try await load.finish()
      #expect(try await first.answer().status == 200)
    }
  }

  @Test func theClientWhoseOptionsCostALoadIsNamed() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      gpu0.behave { $0.processList = Self.list("m:latest") }
      try await rig.use(gpu0)
      for (number, options) in ["", #","options":{"num_ctx":8192}"#].enumerated() {
        let client = try await rig.connect()
        try await client.send("POST", "/api/generate", body: #"{"model":"m","prompt":"x"\#(options)}"#)
        try await gpu0.ask(number).serve()
        #expect(try await client.answer().status == 200)
      }
      try await rig.waitForJournal(
        "gpu0 loaded m:latest again, with num_ctx 8192 in place of the defaults: a client at 127.0.0.1 asked for that")
      let reloads = try #require(try await rig.status().reloads)
      #expect(reloads.count == 1 && reloads[0].model == "m:latest" && reloads[0].instance == "gpu0")
      #expect(reloads[0].from == "the defaults" && reloads[0].to == "num_ctx 8192" && reloads[0].client == "127.0.0.1")
      #expect(reloads[0].count == 1)
      #expect(try await rig.metric("ollama_pool_model_reloads_total{model=\"m:latest\"}") == 1)
    }
  }

  // MARK: Preload

  @Test func aModelThatWasEvictedIsLoadedAgain() async throws {
    try await DispatcherRig.run {
      $0.preload = ["m"]
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      gpu0.behave { $0.processList = Self.list("m:latest", onGPU: 60) }
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      try await gpu0.ask(0).answer(#"{"done":true}"#)
      try await rig.waitForCapacity(1)
      try await rig.waitForJournal("gpu0 holds m:latest, but only 0 MiB of 0 MiB are on the GPU")
      // Another model takes its place; a list is asked for because that one was not known.
      gpu0.behave { $0.processList = Self.list("other:latest") }
      let client = try await rig.generate(model: "other")
      try await gpu0.ask(1).serve()
      #expect(try await client.answer().status == 200)
      let load = try await gpu0.ask(2)
      #expect(load.body == #"{"model":"m:latest","keep_alive":-1,"stream":false}"#)
      try await rig.waitForJournal("gpu0 no longer holds m:latest in memory; it is loaded again")
      #expect(try await rig.queue().maxConcurrent == 1)
      try await load.answer(#"{"error":"model requires more system memory (9 GiB) than is available"}"#, status: 500)
      try await rig.waitForJournal(
        "gpu0 could not load m:latest again, and tries later: model requires more system memory (9 GiB) than is "
          + "available")
      #expect(try await rig.queue().instances[0].health == .healthy)
    }
  }

  @Test func aLoadObeysWhatIsSettledForItsModel() async throws {
    try await DispatcherRig.run {
      $0.preload = ["m"]
      $0.models["M"] = ModelSettings()
      $0.models["M"]?.numCtx = 8192
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      gpu0.behave {
        $0.processList = #"{"models":[{"name":"m:latest","size":1,"size_vram":1,"context_length":8192}]}"#
      }
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      let load = try await gpu0.ask(0)
      #expect(load.body == #"{"model":"m:latest","options":{"num_ctx":8192},"keep_alive":-1,"stream":false}"#)
      try await load.answer(#"{"error":"\"m\" does not support generate"}"#, status: 400)
      let second = try await gpu0.ask(1)
      #expect(second.path == "/api/embed" && second.body.contains(#""options":{"num_ctx":8192}"#))
      try await second.answer(#"{"embeddings":[[1]]}"#)
      try await rig.waitForCapacity(1)
      let client = try await rig.generate()
      let asked = try await gpu0.ask(2)
      #expect(asked.body.hasPrefix(#"{"options":{"num_ctx":8192},"model":"m""#))
      try await asked.serve()
      #expect(try await client.answer().status == 200)
      #expect(try await rig.status().reloads == [])
    }
  }
}
