import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// GPUs that fail under instances that serve.
  @Suite(.serialized) struct GPUFaultTests {
    @Test func aGPUThatIsLostEndsItsStreamsWithAnErrorAndIsReplacedAndTheOthersNoticeNothing() async throws {
      try await SimulatedGPUs.running(SystemTests.two, options: ["--count", "3"]) { pool, gpus in
        let before = try await pool.ready(2)
        let streams = [try await Conversation.begun(tokens: 250), try await Conversation.begun(tokens: 250)]
        let requests = try await pool.requests("both are served") { $0.allSatisfy(\.begun) && $0.count == 2 ? $0 : nil }
        let lost = try #require(requests.firstIndex { $0.instance == "gpu0" })
        try await gpus.fault("gpu0 lost")
        let cut = try await Conversation.finish(streams[lost], within: .seconds(20))
        #expect(cut.status == 200 && cut.hasErrorLine && !cut.isDone, "\(cut.lines.suffix(1))")
        let after = try await pool.status("gpu2 takes its place") {
          $0.running.map(\.id) == ["gpu1", "gpu2"] && $0.instance("gpu2")?.state == "ready"
        }
        let whole = try await Conversation.finish(streams[1 - lost])
        #expect(whole.isDone && whole.tokens >= 249)
        #expect(after.instance("gpu1")?.mainPID == before.instance("gpu1")?.mainPID)
        let seen = try await pool.gpus("gpu0 has failed") { $0["0"]?.state == "failed" }
        #expect(seen["0"]?.reason?.contains("the GPU is lost") == true, "\(seen)")
        let entry = try await pool.entry(containing: "has failed: the GPU is lost")
        #expect(entry.gpu == SimulatedGPUs.uuid(0) && entry.message.contains("gpu0"), "\(entry)")
        #expect(try await Conversation.chat(tokens: 2).isDone)
      }
    }

    @Test func anXIDThatWantsAResetQuarantinesTheGPUUntilAnOperatorSaysThatItIsWell() async throws {
      try await SimulatedGPUs.running("", options: ["--count", "2"]) { pool, gpus in
        let before = try await pool.ready(1)
        let stream = try await Conversation.begun(tokens: 60)
        try await gpus.fault("gpu0 xid 79")
        // What has begun may end.
        #expect(try await Conversation.finish(stream).isDone)
        try await pool.status("gpu1 serves instead") { $0.running.map(\.id) == ["gpu1"] && $0.maxConcurrent == 1 }
        let quarantined = try await pool.gpus("gpu0 is quarantined") { $0["0"]?.state == "quarantined" }
        #expect(quarantined["0"]?.reason?.contains("XID 79") == true, "\(quarantined)")
        let entry = try await pool.entry(containing: "has failed: XID 79")
        #expect(entry.gpu == SimulatedGPUs.uuid(0) && entry.messageID != nil)

        let old = try await pool.mainPID(of: InstalledPool.supervisor)
        try await systemctl("restart", InstalledPool.supervisor)
        #expect(try await pool.mainPID(of: InstalledPool.supervisor) != old)
        #expect(try await pool.pool("scale", "--fixed", "2").end == .exited(0))
        let still = try await pool.gpus("it still is") { $0["0"]?.state == "quarantined" }
        #expect(still["0"]?.reason?.contains("XID 79") == true, "\(still)")
        #expect(try await pool.status().instance("gpu0")?.mainPID == nil)

        #expect(try await pool.pool("uncordon", "gpu0").end == .exited(0))
        let after = try await pool.ready(2)
        #expect(after.instance("gpu0")?.mainPID != before.instance("gpu0")?.mainPID)
      }
    }

    @Test func anXIDOfAProgramCostsItsInstanceAndNotTheGPU() async throws {
      try await SimulatedGPUs.running(SystemTests.two, options: ["--count", "2"]) { pool, gpus in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 60)
        try await gpus.fault("gpu0 xid 31")
        try await pool.status("gpu0 has another instance") { status in
          status.maxConcurrent == 2 && status.instance("gpu0")?.mainPID != before.instance("gpu0")?.mainPID
        }
        #expect(try await Conversation.finish(stream).isDone)
        #expect(try await pool.status().instance("gpu1")?.mainPID == before.instance("gpu1")?.mainPID)
        let entry = try await pool.entry(containing: "had an error: XID 31")
        #expect(entry.gpu == SimulatedGPUs.uuid(0))
        #expect(try await pool.entries(about: "gpu0").contains { $0.message.hasPrefix("gpu0 drains: ") })
      }
    }

    @Test func whatAllGPUsNeedGoesMissingAndNothingIsStartedUntilItIsBack() async throws {
      let (node, away) = ("/dev/nvidia-uvm", "/dev/nvidia-uvm.away")
      try await SimulatedGPUs.running("scaling: {min: 2, max: 2}", options: ["--count", "3"]) { pool, _ in
        let before = try await pool.ready(2)
        let streams = [try await Conversation.begun(tokens: 300), try await Conversation.begun(tokens: 300)]
        rename(node, away)
        defer { rename(away, node) }
        let seen = try await pool.gpus("all are out") { $0.values.allSatisfy { $0.state == "failed" } }
        let reason = "its device node \(node) is missing; `nvidia-modprobe -u -c=0` makes it"
        #expect(seen.count == 3 && seen.values.allSatisfy { $0.reason == reason }, "\(seen)")
        #expect(try await pool.pool("scale", "--fixed", "3").end == .exited(0))
        let held = try await pool.entry(containing: "gpu2 is passed over")
        #expect(held.message.contains(reason), "\(held)")
        for stream in streams {
          let answer = try await Conversation.finish(stream)
          #expect(answer.isDone && answer.tokens >= 299)
        }
        // What goes is not replaced, here or elsewhere.
        try await pool.kill("SIGKILL", "ollama-instance-gpu0.service")
        try await pool.entry(containing: "gpu0 is passed over")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        let during = try await pool.status()
        #expect(during.running.map(\.mainPID) == [before.instance("gpu1")?.mainPID])
        rename(away, node)
        let after = try await pool.ready(3)
        #expect(after.instance("gpu1")?.mainPID == before.instance("gpu1")?.mainPID)
      }
    }

    @Test func aDriverThatIsRestartedOrHangsCostsNoInstance() async throws {
      try await SimulatedGPUs.running(SystemTests.two, options: ["--count", "2"]) { pool, gpus in
        let before = try await pool.ready(2)
        try await gpus.fault("driver restarted")
        // Events are heard of again, too, but for those of the time between.
        try await eventually(within: .seconds(40), "events are heard of again") {
          try await gpus.fault("gpu1 xid 63")
          return (try? await pool.entry(within: .seconds(2), containing: "had an error: XID 63")) != nil
        }
        try await pool.gpus("all is well") { $0.values.allSatisfy { $0.state == "ours" && $0.problem == nil } }
        try await gpus.fault("driver hangs")
        try await eventually(within: .seconds(40), "that it hangs is told") {
          try await pool.pool("status").output.contains("has not answered within")
        }
        #expect(try await Conversation.chat(tokens: 2).isDone)
        try await gpus.clear()
        try await pool.gpus(within: .seconds(40), "it answers again") {
          $0.count == 2 && $0.values.allSatisfy { $0.state == "ours" && $0.problem == nil }
        }
        let after = try await pool.status()
        #expect(after.running.map(\.mainPID) == before.running.map(\.mainPID) && after.maxConcurrent == 2)
      }
    }

    @Test func anErrorThatIsOnlyToldCostsNothingAndAGPUThatWantsAResetIsUsedAgainAfterIt() async throws {
      try await SimulatedGPUs.running("", options: ["--count", "2"]) { pool, gpus in
        let before = try await pool.ready(1)
        try await gpus.fault("gpu0 ecc")
        try await pool.entry(containing: "had an error: an ECC error that could not be corrected")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        #expect(try await pool.status().instance("gpu0")?.mainPID == before.instance("gpu0")?.mainPID)
        try await gpus.fault("gpu0 reset-required")
        try await pool.status("gpu1 serves instead") { $0.running.map(\.id) == ["gpu1"] && $0.maxConcurrent == 1 }
        try await pool.gpus("gpu0 has failed") { $0["0"]?.reason?.contains("needs a reset") == true }
        try await gpus.clear()
        try await pool.gpus(within: .seconds(30), "it is well again after a while") { $0["0"]?.state == "free" }
      }
    }

    @Test func whatIsSaidToBeOnTheGPUWhileTheDriverSeesNothingThereIsTakenOut() async throws {
      try await SimulatedGPUs.running(options: ["--count", "2"]) { pool, _ in
        _ = try await pool.ready(1)
        try await pool.setFaults("gpu0: unsaid-cpu-fallback")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        // What is said of a model may be a minute old.
        try await pool.status(within: .seconds(120), "gpu1 serves instead") {
          $0.running.map(\.id) == ["gpu1"] && $0.maxConcurrent == 1
        }
        let entry = try await pool.entry(containing: "gpu0 drains: ")
        #expect(entry.message.contains("the driver sees no process of it there"), "\(entry)")
      }
    }

    @Test func anInstanceThatComputesOnTheCPUInSilenceIsTakenOutAndToldAndReplaced() async throws {
      try await SimulatedGPUs.running(options: ["--count", "2"]) { pool, _ in
        _ = try await pool.ready(1)
        try await pool.setFaults("gpu0: cpu-fallback")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        try await pool.status("gpu1 serves instead") { $0.running.map(\.id) == ["gpu1"] && $0.maxConcurrent == 1 }
        let entry = try await pool.entry(containing: "gpu0 drains: ")
        #expect(entry.message.contains("llama3.2:latest computes on the CPU"), "\(entry)")
        try await pool.setFaults("")
        #expect(try await Conversation.chat(tokens: 2).isDone)
        let gpus = try await pool.gpus("the model is on gpu1") { $0["1"]?.memoryOursBytes ?? 0 > 1 << 30 }
        #expect(gpus["1"]?.processes?.map(\.instance) == ["gpu1"])
      }
    }
  }
}
