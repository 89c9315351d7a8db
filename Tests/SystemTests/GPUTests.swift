import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Which GPUs there are, and whose.
  @Suite(.serialized) struct GPUTests {
    @Test func eachInstanceOpensTheNodesOfItsOwnGPUAndOfNoOther() async throws {
      try await LookingOllama.install()
      try await SimulatedGPUs.running("ollama: \(LookingOllama.path)\nscaling: {min: 4}") { pool, _ in
        let status = try await pool.ready(4)
        for number in 0..<4 {
          let id = "gpu\(number)"
          let instance = try #require(status.instance(id))
          #expect(instance.gpus == [SimulatedGPUs.uuid(number)])
          let process = try #require(instance.mainPID)
          let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8).split(
            separator: "\0")
          #expect(environment.contains("CUDA_VISIBLE_DEVICES=\(SimulatedGPUs.uuid(number))"))
          #expect(try await LookingOllama.mayOpen(pool, id) == ["nvidia\(number)", "nvidiactl"])
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
    }

    /// Runs `body` on a machine whose kernel shows these GPUs of AMD's, with stand-ins for their nodes.
    private func withAMD(_ machine: FakeAMD, _ body: () async throws -> Void) async throws {
      let places = ["/sys/class", "/sys/bus/pci/devices", "/sys/devices/pci0000:00"]
      let nodes = [("kfd", 232), ("dri/renderD128", 200), ("dri/renderD129", 229)]
      func command(_ words: String...) async throws {
        let command = try await run(words[0], Array(words.dropFirst()))
        guard command.end == .exited(0) else { throw Failed("\(words): \(command.errorOutput)") }
      }
      func clear() async {
        for place in places { _ = try? await run("umount", [place]) }
        for (node, _) in nodes { unlink("/dev/" + node) }
      }
      do {
        try await command("mkdir", "-p", "/dev/dri")
        for (node, minor) in nodes { try await command("mknod", "-m", "666", "/dev/" + node, "c", "10", "\(minor)") }
        for place in places { try await command("mount", "--bind", machine.root + place, place) }
        try await body()
      } catch {
        await clear()
        throw error
      }
      await clear()
    }

    @Test func gpusOfAMDAreFoundAndEachInstanceHasItsOwnAlone() async throws {
      let machine = try FakeAMD([
        FakeAMD.GPU(bus: 3, uniqueID: 0xa0, renderMinor: 128, memoryUsed: 0, localCPUs: "0"),
        FakeAMD.GPU(bus: 4, uniqueID: 0xa1, renderMinor: 129, memoryUsed: 0, localCPUs: "1"),
      ])
      try await LookingOllama.install()
      try await withAMD(machine) {
        let settings = "ollama: \(LookingOllama.path)\nscaling: {min: 2}"
        try await InstalledPool.running(settings, gpus: "gpus: auto") { pool in
          let status = try await pool.ready(2)
          for number in 0..<2 {
            let instance = try #require(status.instance("gpu\(number)"))
            #expect(instance.gpus == ["GPU-00000000000000a\(number)"])
            let process = try #require(instance.mainPID)
            let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8)
              .split(separator: "\0")
            #expect(environment.contains("ROCR_VISIBLE_DEVICES=GPU-00000000000000a\(number)"))
            #expect(environment.contains("CUDA_VISIBLE_DEVICES=-1"))
            // Beside its GPU.
            let state = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
            #expect(state.contains("\nCpus_allowed_list:\t\(number)\n"), "\(state)")
            // The stand-ins have the numbers of those for NVIDIA's, which are there, too.
            let open = try await LookingOllama.mayOpen(pool, "gpu\(number)").filter { !$0.hasPrefix("nvidia") }
            #expect(open == ["kfd", "dri/renderD\(128 + number)"])
          }
          // Somebody comes, and the one that is started anew goes without this GPU.
          let stranger = try RunningProgram("sleep", ["600"])
          try machine.occupy(1, bytes: 8 << 30, by: stranger.processID)
          let gpus = try await pool.gpus("others are on it") { $0["1"]?.memoryOthersBytes == 8 << 30 }
          #expect(gpus["1"]?.processes?.map(\.command) == ["sleep"] && gpus["0"]?.memoryOthersBytes == 0)
          try await pool.kill("SIGKILL", "ollama-instance-gpu1.service")
          let held = try await pool.entry(containing: "gpu1 is passed over")
          #expect(held.message.contains("sleep (process \(stranger.processID)) with 8 GiB"), "\(held)")
          #expect(try await Conversation.chat(tokens: 2).isDone)
        }
      }
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

    @Test func othersWhoComeAreLeftTheGPUAndItIsTakenBackWhenTheyHaveGone() async throws {
      let settings = SystemTests.two + "\nyield_to_others: true\nyield_after: 2s"
      try await SimulatedGPUs.running(settings, options: ["--count", "2"]) { pool, gpus in
        _ = try await pool.ready(2)
        let streams = [try await Conversation.begun(tokens: 120), try await Conversation.begun(tokens: 120)]
        let others = try await gpus.occupy("gpu1", "30GiB")
        let entry = try await pool.entry(containing: "gpu1 drains: it leaves its GPU to ollama-simulator")
        #expect(entry.message.contains("process \(others.processID)"), "\(entry)")
        // What it had begun it has finished.
        for stream in streams { #expect(try await Conversation.finish(stream).isDone) }
        try await pool.gpus("gpu1 is theirs") { $0["1"]?.state == "busy" && $0["1"]?.memoryOursBytes == 0 }
        #expect(try await pool.status().running.map(\.id) == ["gpu0"])
        others.signal(SIGINT)
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
