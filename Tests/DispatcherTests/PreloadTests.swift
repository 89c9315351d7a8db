import ControlInterface
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Dispatcher

@Suite(.timeLimit(.minutes(2)))
struct PreloadTests {
  @Test func anInstanceCountsOnlyWhenItsModelsAreLoadedOneAfterTheOther() async throws {
    try await withPreload(["first", "second"]) { rig, gpu0 in
      let waiting = try await rig.generate("waiting")
      let first = try await gpu0.ask(0)
      #expect(first.path == "/api/generate")
      #expect(first.body == #"{"model":"first:latest","keep_alive":-1,"stream":false}"#)
      #expect(try await rig.queue().instances[0].health == .starting)
      #expect(try await rig.queue().maxConcurrent == 0)
      #expect(gpu0.asked.count == 1)
      try await first.answer(#"{"done":true}"#)
      let second = try await gpu0.ask(1)
      #expect(second.body.contains("second"))
      #expect(try await rig.queue().maxConcurrent == 0)
      try await second.answer(#"{"done":true}"#)
      try await rig.waitForCapacity(1)
      try await gpu0.ask(2).serve()
      #expect(try await waiting.answer().status == 200)
      try await rig.waitForJournal("gpu0 takes requests")
      #expect(try await rig.metric("ollama_pool_instance_starts_total{result=\"ready\"}") == 1)
    }
  }

  @Test func aModelThatOnlyEmbedsIsLoadedByEmbedding() async throws {
    try await withPreload(["embedder"]) { rig, gpu0 in
      try await gpu0.ask(0).answer(#"{"error":"\"embedder\" does not support generate"}"#, status: 400)
      let second = try await gpu0.ask(1)
      #expect(second.path == "/api/embed")
      try await second.answer(#"{"embeddings":[[1]]}"#)
      try await rig.waitForCapacity(1)
    }
  }

  @Test func aModelThatCanNotBeLoadedIsAFinalFaultThatSaysWhy() async throws {
    try await withPreload(["absent"]) { rig, gpu0 in
      try await gpu0.ask(0).answer(#"{"error":"model 'absent' not found"}"#, status: 404)
      let queue = try await rig.wait("gpu0 is unhealthy") { $0.instances[0].health == .unhealthy }
      #expect(queue.instances[0].healthFinal)
      #expect(queue.instances[0].healthReason == "model absent:latest could not be loaded: model 'absent' not found")
    }
  }

  @Test func aLoadIsAbortedWhenItsInstanceIsNoLongerWanted() async throws {
    try await withPreload(["slow"]) { rig, gpu0 in
      let load = try await gpu0.ask(0)
      try await rig.setInstances([])
      try await load.waitUntilClosed()
    }
  }

  @Test func anInstanceThatAnswersLateIsAskedUntilItDoes() async throws {
    try await DispatcherRig.run { rig in
      let gpu0 = try await FakeOllama.start()
      gpu0.behave { $0.versionStatus = 503 }
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      try await rig.wait("it is registered") { $0.instances.first?.health == .starting }
      gpu0.behave { $0.versionStatus = 200 }
      try await rig.waitForCapacity(1)
    }
  }

  private func withPreload(_ models: [String], _ body: (DispatcherRig, FakeOllama) async throws -> Void) async throws {
    try await DispatcherRig.run {
      $0.preload = models
    } _: { rig in
      let gpu0 = try await FakeOllama.start()
      try await rig.setInstances([DispatcherRig.wanted(gpu0)])
      try await body(rig, gpu0)
    }
  }
}
