import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Instances that are not one for each GPU.
  @Suite(.serialized) struct PlacementTests {
    @Test func groupsAndSharesOfGPUsAndReservedModelsAreAsConfigured() async throws {
      let placements = """
        scaling: {min: 3}
        ollama: \(LookingOllama.path)
        placements:
          - {id: pair, gpus: [0, 3], models: [llama3.2]}
          - {id: left, gpus: [2], shared: true, gpu_memory: 600MiB, models: [nomic-embed-text]}
          - {id: right, gpus: [2], shared: true, gpu_memory: 600MiB, models: [nomic-embed-text]}
        """
      try await LookingOllama.install()
      try await SimulatedGPUs.running(placements, options: ["--memory", "1200MiB"]) { pool, _ in
        let status = try await pool.ready(3)
        for (id, gpus) in [("pair", [0, 3]), ("left", [2]), ("right", [2])] {
          let instance = try #require(status.instance(id))
          let uuids = gpus.map(SimulatedGPUs.uuid)
          #expect(instance.gpus == uuids)
          let variables = try pool.variables(of: instance.mainPID)
          #expect(variables.contains("CUDA_VISIBLE_DEVICES=\(uuids.joined(separator: ","))"))
          #expect(try await LookingOllama.mayOpen(pool, id) == gpus.map { "nvidia\($0)" } + ["nvidiactl"])
        }
        // Each model where it is reserved, and none other anywhere.
        #expect(try await Conversation.chat(tokens: 50).isDone)
        let embedding = try await embed("nomic-embed-text")
        #expect(embedding.status == 200)
        let refused = try await embed("all-minilm")
        #expect(refused.status == 404, "\(refused)")
        // One of the two does not hold it.
        let gpus = try await pool.gpus("both models are where they are reserved") { gpus in
          ["0", "3", "2"].allSatisfy { gpus[$0]?.memoryOursBytes ?? 0 > 0 }
        }
        #expect(gpus["1"]?.memoryOursBytes == 0 && gpus["2"]?.instances.sorted() == ["left", "right"])
      }
    }

    private func embed(_ model: String) async throws -> HTTPProbe.Answer {
      try await HTTPProbe.exchange(
        "POST", "/api/embed", port: InstalledPool.port, headers: [("Content-Type", "application/json")],
        body: #"{"model":"\#(model)","input":"x"}"#)
    }

    @Test func groupsThatThePoolFormsAreExplained() async throws {
      try await SimulatedGPUs.running("gpus_per_instance: 2\nscaling: {min: 2}") { pool, _ in
        let status = try await pool.ready(2)
        #expect(status.running.map(\.id) == ["gpu0", "gpu2"])
        #expect(status.instance("gpu2")?.gpus == [SimulatedGPUs.uuid(2), SimulatedGPUs.uuid(3)])
        #expect(status.instances.map(\.placement) == ["in one machine", "in one machine"])
        #expect(try await pool.pool("status").output.contains("Groups    gpu0 in one machine, gpu2 in one machine\n"))
        try await pool.entry(containing: "4 GPUs found, in groups: gpu0 in one machine, gpu2 in one machine")
      }
    }

    @Test func aModelThatDoesNotFitIsToldWithBothFiguresAndCostsNoInstance() async throws {
      let settings = "scaling: {min: 1}\npreload: [llama3.2]"
      try await SimulatedGPUs.running(settings, options: ["--count", "1", "--memory", "1GiB"]) { pool, _ in
        let status = try await pool.ready(1)
        let figures = "takes 1.9 GiB and has 1 GiB of GPU memory"
        try await pool.entry(containing: figures)
        let later = try await pool.status("it is said") { $0.instance("gpu0")?.reason?.contains(figures) == true }
        #expect(later.instance("gpu0")?.state == "ready" && later.maxConcurrent == 1)
        #expect(later.running.map(\.mainPID) == status.running.map(\.mainPID))
        #expect(try await Conversation.chat(tokens: 2).isDone)
      }
    }
  }
}
