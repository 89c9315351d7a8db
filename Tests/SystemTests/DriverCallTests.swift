import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// Each call of NVML's that the pool makes fails, under instances that serve.
  @Suite(.serialized) struct DriverCallTests {
    /// Where it is told that a call fails.
    private enum Place {
      /// With this GPU.
      case gpu(String)
      /// As a problem of the pool's.
      case pool
      /// Nowhere: what it would have told is not needed, or is known already.
      case nowhere
    }

    private static let places: [String: Place] = [
      "nvmlInit_v2": .pool, "nvmlDeviceGetCount_v2": .pool, "nvmlDeviceGetHandleByIndex_v2": .gpu("0"),
      "nvmlDeviceGetUUID": .gpu("1"), "nvmlShutdown": .nowhere, "nvmlErrorString": .nowhere,
      "nvmlSystemGetDriverVersion": .nowhere, "nvmlDeviceGetName": .gpu("0"), "nvmlDeviceGetMinorNumber": .gpu("1"),
      // What older drivers have instead of the next one.
      "nvmlDeviceGetMemoryInfo": .nowhere, "nvmlDeviceGetMemoryInfo_v2": .gpu("0"),
      "nvmlDeviceGetUtilizationRates": .gpu("1"), "nvmlDeviceGetTemperature": .gpu("0"),
      "nvmlDeviceGetPciInfo_v3": .gpu("1"), "nvmlDeviceGetComputeRunningProcesses_v3": .gpu("0"),
      "nvmlDeviceGetGraphicsRunningProcesses_v3": .gpu("1"), "nvmlDeviceGetMigMode": .gpu("2"),
      "nvmlDeviceGetMaxMigDeviceCount": .gpu("2"), "nvmlDeviceGetMigDeviceHandleByIndex": .gpu("2"),
      // Of a slice they are asked once.
      "nvmlDeviceGetGpuInstanceId": .nowhere, "nvmlDeviceGetComputeInstanceId": .nowhere,
      "nvmlEventSetCreate": .pool, "nvmlEventSetFree": .nowhere, "nvmlDeviceGetSupportedEventTypes": .pool,
      "nvmlDeviceRegisterEvents": .pool, "nvmlEventSetWait_v2": .pool,
    ]

    @Test func aCallThatFailsIsToldAndCostsNoInstance() async throws {
      #expect(try FakeNVML.calls() == Set(Self.places.keys), "say where it is told that a call fails")
      let options = ["--count", "3", "--mig", "gpu2=10GiB"]
      try await SimulatedGPUs.running("scaling: {min: 3}", options: options) { pool, gpus in
        let before = try await pool.ready(3)
        var streams: [Conversation.Begun] = []
        for _ in 0..<3 { streams.append(try await Conversation.begun(tokens: 2500)) }
        var ofGPUs = ["0", "1", "2"].map { gpu in
          Self.places.filter { if case .gpu(gpu) = $0.value { true } else { false } }.map(\.key).sorted()
        }
        let silent = Self.places.filter { if case .nowhere = $0.value { true } else { false } }.keys.sorted()
        try await areTold(
          [("0", "nvmlDeviceGetHandleByIndex_v2"), ("1", "nvmlDeviceGetUUID")], pool, gpus, inASessionAnew: false)
        // One of each GPU at a time, and at the end, where no slice is concerned, all that are told nowhere.
        while ofGPUs.contains(where: { !$0.isEmpty }) {
          let failing = zip(["0", "1", "2"], ofGPUs.map(\.first)).compactMap { gpu, call in call.map { (gpu, $0) } }
          ofGPUs = ofGPUs.map { Array($0.dropFirst()) }
          if failing.count < 3 { for call in silent { try await gpus.fault("driver call \(call) 999") } }
          try await areTold(failing, pool, gpus, inASessionAnew: true)
          #expect(try await pool.status().running.map(\.mainPID) == before.running.map(\.mainPID), "\(failing)")
        }
        try await callsOfThePoolAreTold(pool, gpus)
        // What has begun has gone on.
        for stream in streams {
          let answer = try await Conversation.finish(stream)
          #expect(answer.isDone && answer.tokens >= 2499)
        }
        try await pool.gpus(within: .seconds(30), "all is well again") { gpus in
          gpus.count == 4 && gpus.values.allSatisfy { $0.problem == nil && ["ours", "divided"].contains($0.state) }
        }
        let after = try await pool.status(within: .seconds(30), "nothing is amiss") { $0.problems.isEmpty }
        #expect(after.running.map(\.mainPID) == before.running.map(\.mainPID) && after.maxConcurrent == 3)
        #expect(try await !pool.story().contains { $0.message.contains(" drains") || $0.message.contains(" failed") })
      }
    }

    @Test func aSupervisorThatIsNotToldWhatInstancesArePinnedWithReplacesNone() async throws {
      try await SimulatedGPUs.running("scaling: {min: 2}", options: ["--count", "2"]) { pool, gpus in
        let before = try await pool.ready(2)
        // A supervisor that ends takes back what it does not know to be ready yet.
        for id in ["gpu0", "gpu1"] { try await pool.entry(containing: "\(id) ready after") }
        for call in ["nvmlDeviceGetMinorNumber", "nvmlDeviceGetPciInfo_v3"] {
          try await gpus.fault("driver call \(call) 999")
        }
        try await systemctl("restart", InstalledPool.supervisor)
        try await pool.gpus("it is told") { gpus in gpus.values.allSatisfy { $0.problem != nil } }
        _ = try await pool.ready(2)
        #expect(try await Conversation.chat(tokens: 100).isDone)
        try await gpus.clear()
        try await pool.gpus("all is told again") { $0.values.allSatisfy { $0.problem == nil } }
        #expect(try await Conversation.chat(tokens: 100).isDone)
        #expect(try await pool.status().running.map(\.mainPID) == before.running.map(\.mainPID))
        let story = try await pool.story().map(\.message)
        #expect(!story.contains { $0.contains(" drains") }, "\(story.joined(separator: "\n"))")
      }
    }

    /// Calls that fail for a GPU are told with it; or, where not even that can be named, of the pool. Then all is well.
    /// - Parameter inASessionAnew: whether NVML is opened while they fail.
    private func areTold(
      _ failing: [(gpu: String, call: String)], _ pool: InstalledPool, _ gpus: SimulatedGPUs, inASessionAnew: Bool
    ) async throws {
      if inASessionAnew {
        try await gpus.fault("driver gone")
        // Of the events' session it is said otherwise.
        try await pool.status("the session has ended") { status in
          status.problems.contains { $0.contains("Driver Not Loaded (NVML code 9)") }
        }
      }
      for (gpu, call) in failing { try await gpus.fault("gpu\(gpu) call \(call) 999") }
      try gpus.edit { $0 == "fail any 9" ? nil : $0 }
      let names = failing.map { gpu, call in
        let hasOlderForms = call.contains("Processes") || call.contains("MemoryInfo")
        return (gpu, hasOlderForms ? String(call.prefix { $0 != "_" }) : call)
      }
      for (gpu, call) in names {
        try await eventually(within: .seconds(20), every: .milliseconds(50), "\(call) of GPU \(gpu) is told") {
          let problem = try await pool.gpus("they are told") { $0[gpu] != nil }[gpu]?.problem ?? ""
          if problem.contains(call) { return true }
          return try await pool.status().problems.contains { $0.hasPrefix("GPU \(gpu): \(call)") }
        }
      }
      // Whoever looks has a reading made; these are of those by which the supervisor decides.
      func isProblem(_ status: InstalledPool.Status) -> Bool {
        status.problems.contains { problem in names.contains { problem.contains(": \($1):") } }
      }
      try await pool.status("one of \(names) is a problem of the pool's", isProblem)
      try await gpus.clear()
      try await pool.status("none of \(names) is") { !isProblem($0) }
      try await pool.gpus("all is told again") { $0.values.allSatisfy { $0.problem == nil } }
    }

    private func callsOfThePoolAreTold(_ pool: InstalledPool, _ gpus: SimulatedGPUs) async throws {
      // Of events, SupervisorTests tries each.
      let ofEvents = [
        "nvmlEventSetWait_v2", "nvmlDeviceRegisterEvents", "nvmlDeviceGetSupportedEventTypes", "nvmlEventSetCreate",
      ]
      for (calls, text) in [
        (["nvmlInit_v2"], "nvmlInit_v2: Unknown Error (NVML code 999)"),
        (["nvmlDeviceGetCount_v2"], "nvmlDeviceGetCount_v2: Unknown Error (NVML code 999)"),
        (ofEvents, "Unknown Error, so that XID errors are not heard of (NVML code 999)"),
      ] {
        for call in calls { try await gpus.fault("driver call \(call) 999") }
        try await gpus.fault("driver restarted")
        try await pool.status("\(calls) are told") { status in status.problems.contains { $0.contains(text) } }
        try await gpus.clear()
      }
    }
  }
}
