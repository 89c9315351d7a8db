import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Which GPUs there are, and whose.
  @Suite(.serialized) struct GPUTests {
    /// Ollama, which says first which device nodes it may open.
    private static let lookingOllama = "/opt/looking-ollama"
    private static let script = """
      #!/bin/sh
      for node in nvidia0 nvidia1 nvidia2 nvidia3 nvidiactl; do
        if (: < /dev/$node) 2>/dev/null; then echo "may open $node"; fi
      done
      exec /usr/bin/ollama-simulator "$@"
      """

    @Test func eachInstanceOpensTheNodesOfItsOwnGPUAndOfNoOther() async throws {
      let folder = try TemporaryDirectory()
      // By another process: what this one has open for writing can't be executed.
      _ = try await run("install", ["-m", "755", try folder.write(Self.script, to: "ollama"), Self.lookingOllama])
      try await SimulatedGPUs.running("ollama: \(Self.lookingOllama)\nscaling: {min: 4}") { pool, _ in
        let status = try await pool.ready(4)
        for number in 0..<4 {
          let id = "gpu\(number)"
          let instance = try #require(status.instance(id))
          #expect(instance.gpus == [SimulatedGPUs.uuid(number)])
          let process = try #require(instance.mainPID)
          let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8).split(
            separator: "\0")
          #expect(environment.contains("CUDA_VISIBLE_DEVICES=\(SimulatedGPUs.uuid(number))"))
          let said = try await pool.entries(about: id).map(\.message).filter { $0.hasPrefix("may open ") }
          #expect(said == ["may open nvidia\(number)", "may open nvidiactl"])
        }
        // NVML is read from within the supervisor's sandbox.
        let maps = try String(
          contentsOfFile: "/proc/\(try await pool.mainPID(of: InstalledPool.supervisor))/maps", encoding: .utf8)
        #expect(maps.contains(SimulatedGPUs.folder + "/libnvidia-ml.so.1"))
        #expect(try await Conversation.chat(tokens: 2).isDone)
        let gpus = try await pool.gpus("the model is on one of them") { gpus in
          gpus.values.contains { $0.memoryOursBytes ?? 0 > 1 << 30 }
        }
        #expect(gpus.values.allSatisfy { $0.state == "ours" && $0.memoryOthersBytes == 0 && $0.problem == nil })
      }
      try FileManager.default.removeItem(atPath: Self.lookingOllama)
    }

    @Test func aSliceOfAGPUThatIsDividedIsAPlaceOfItsOwnWhateverItsNumberIs() async throws {
      let options = ["--count", "2", "--mig", "gpu1=10GiB,10GiB,10GiB"]
      // Slices that were deleted leave gaps in NVML's indexes and in the instances' numbers.
      let gaps = [
        ("index=0", "index=1", "gi=1", "gi=3"), ("index=1", "index=4", "gi=2", "gi=9"),
        ("index=2", "index=6", "gi=3", "gi=13"),
      ]
      try await SimulatedGPUs.running("scaling: {min: 4}", options: options, haveNodes: false) { gpus in
        try gpus.edit { line in
          guard line.hasPrefix("mig "), let gap = gaps.first(where: { line.contains($0.0 + " ") }) else { return line }
          return line.replacing(gap.0 + " ", with: gap.1 + " ").replacing(gap.2 + " ", with: gap.3 + " ")
        }
      } _: { pool, gpus in
        let status = try await pool.ready(4)
        #expect(status.running.map(\.id) == ["gpu0", "gpu1.3", "gpu1.9", "gpu1.13"])
        let slice = "MIG-00000001-0000-4000-8000-000000000002"
        #expect(status.instance("gpu1.9")?.gpus == [slice])
        let seen = try await pool.gpus("the parent is divided") { $0["1"]?.state == "divided" }
        #expect(seen["1.9"]?.uuid == slice && seen["1.9"]?.state == "ours")
        // One is deleted. The others notice nothing.
        try gpus.edit { $0.contains(slice) ? nil : $0 }
        let after = try await pool.status("its instance is gone") { $0.instance("gpu1.9") == nil }
        #expect(after.running.map(\.mainPID) == status.running.filter { $0.id != "gpu1.9" }.map(\.mainPID))
        #expect(try await Conversation.chat(tokens: 2).isDone)
      }
    }

    @Test func aGPUThatOthersHoldIsPassedOverAndNamesThemUntilTheyLeave() async throws {
      var others: RunningProgram?
      try await SimulatedGPUs.running(SystemTests.two, options: ["--count", "2"]) { gpus in
        others = try await gpus.occupy("gpu0", "60GiB")
      } _: { pool, _ in
        let process = try #require(others?.processID)
        try await pool.status("gpu1 serves") { $0.instance("gpu1")?.state == "ready" && $0.maxConcurrent == 1 }
        let gpus = try await pool.gpus("gpu0 is busy") { $0["0"]?.state == "busy" }
        #expect(gpus["0"]?.reason?.contains("ollama-simulator (process \(process)) with 60 GiB") == true, "\(gpus)")
        #expect(gpus["0"]?.memoryOthersBytes == 60 << 30)
        let table = try await pool.pool("gpus").output
        #expect(table.contains("busy") && table.contains("process \(process)"), "\(table)")
        let held = try await pool.entry(containing: "gpu0 is passed over")
        #expect(held.message.contains("process \(process)") && held.instance == "gpu0")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        others?.signal(SIGINT)
        _ = try await pool.ready(2)
      }
    }

    @Test func aDriverThatComesAfterThePoolHasStartedIsUsed() async throws {
      try await SimulatedGPUs.running("scaling: {min: 2}", options: ["--count", "2"]) { gpus in
        try await gpus.uninstall()
      } _: { pool, gpus in
        let before = try await pool.ready(1)
        #expect(before.running.map(\.id) == ["cpu0"])
        // The library first, and the kernel's module after it.
        try await gpus.fault("driver gone")
        try await gpus.install()
        try await gpus.clear()
        let after = try await pool.status(within: .seconds(30), "both GPUs serve") { $0.maxConcurrent == 2 }
        #expect(after.running.map(\.id).sorted() == ["gpu0", "gpu1"])
        try await pool.entry(containing: "other GPUs are there than before: 2 GPUs found")
      }
    }
  }
}
