import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// GPUs that come, what takes a driver's place, and placements that can't be.
  @Suite(.serialized) struct GPUChangeTests {
    @Test func aGPUThatIsAddedIsUsedWithoutARestartAndTheOthersKeepTheirNames() async throws {
      try await SimulatedGPUs.running("scaling: {min: 3}", options: ["--count", "3"]) { gpus in
        // The first on the bus, so that it would be gpu0 if the numbers were counted anew.
        try await gpus.fault("gpu0 missing")
      } _: { pool, gpus in
        let before = try await pool.ready(2)
        #expect(before.running.map(\.gpus) == [[SimulatedGPUs.uuid(1)], [SimulatedGPUs.uuid(2)]])
        let supervisor = try await pool.mainPID(of: InstalledPool.supervisor)
        let stream = try await Conversation.begun(tokens: 100)
        try await gpus.clear()
        let after = try await pool.ready(3)
        #expect(after.instance("gpu2")?.gpus == [SimulatedGPUs.uuid(0)])
        #expect(after.running.prefix(2).map(\.mainPID) == before.running.map(\.mainPID))
        #expect(try await pool.mainPID(of: InstalledPool.supervisor) == supervisor)
        #expect(try await Conversation.finish(stream).isDone)
        try await pool.entry(containing: "other GPUs are there than before: 3 GPUs found")
      }
    }

    @Test func garbageInTheLibrarysPlaceCostsNoInstanceAndPutsNothingOnTheCPU() async throws {
      try await SimulatedGPUs.running(SystemTests.two, options: ["--count", "2"]) { pool, gpus in
        let before = try await pool.ready(2)
        let streams = [try await Conversation.begun(tokens: 300), try await Conversation.begun(tokens: 300)]
        try await gpus.fault("driver garbage")
        try await systemctl("restart", InstalledPool.supervisor)
        let told = try await pool.entry(containing: "there were GPUs on this machine, and there is none now")
        #expect(told.message.contains("libnvidia-ml.so.1: invalid ELF header"), "\(told)")
        for stream in streams {
          let answer = try await Conversation.finish(stream)
          #expect(answer.isDone && answer.tokens >= 299)
        }
        #expect(try await pool.status().running.map(\.mainPID) == before.running.map(\.mainPID))
        // From the beginning, too.
        try await systemctl("stop", "ollama-pool.target")
        try await eventually(within: .seconds(20), "all is gone") { try await pool.activeUnits("ollama-*").isEmpty }
        try await pool.beginStory()
        try await systemctl("start", "ollama-pool.target")
        try await pool.entry(containing: "there were GPUs on this machine, and there is none now")
        let probe = try await Conversation.ask(tokens: 2)
        let waiting = try await pool.status("a request waits") { $0.queueDepth == 1 }
        #expect(waiting.running.isEmpty && waiting.instances.isEmpty)
        #expect(try await pool.pool("status").output.contains("invalid ELF header"))
        try await gpus.clear()
        let after = try await pool.ready(2)
        #expect(after.running.map(\.id) == ["gpu0", "gpu1"])
        #expect(try await probe.answer(within: .seconds(20)).status == 200)
      }
    }

    @Test func placementsThatCanNotBeAreToldEachAndTheOthersServe() async throws {
      let slice = "MIG-00000003-0000-4000-8000-000000000001"
      let settings = """
        placements:
          - {id: unknown, gpus: [GPU-nobody]}
          - {id: number, gpus: [9]}
          - {id: first, gpus: [0]}
          - {id: again, gpus: [\(SimulatedGPUs.uuid(0))]}
          - {id: parent, gpus: [3]}
          - {id: slice, gpus: [\(slice)]}
          - {id: large, gpus: [1], gpu_memory: 30GiB}
          - {id: last, gpus: [2]}
        scaling: {min: 8}
        """
      let options = ["--count", "4", "--memory", "20GiB", "--mig", "gpu3=10GiB,5GiB"]
      try await SimulatedGPUs.running(settings, options: options) { pool, _ in
        let status = try await pool.ready(3)
        #expect(status.instances.map(\.id).sorted() == ["first", "last", "slice"])
        let problems = [
          "placements[0].gpus: GPU-nobody is not there; expected GPUs that `ollama-pool gpus` shows",
          "placements[1].gpus: 9 is not there; expected GPUs that `ollama-pool gpus` shows",
          "\(SimulatedGPUs.uuid(0)) is also used by placements[2]; expected a GPU of its own, or shared: true on both",
          "placements[4].gpus: \(SimulatedGPUs.uuid(3)) is divided into MIG slices; expected one of \(slice)",
          "needs 30GiB of GPU memory, and its GPUs have 20GiB",
        ]
        let shown = try await pool.pool("status").output
        for problem in problems {
          try await pool.entry(containing: problem)
          #expect(shown.contains(problem), "\(shown)")
        }
        #expect(try await Conversation.chat(tokens: 2).isDone)
      }
    }
  }
}
