import ControlInterface
import Foundation
import NIOPosix
import TestSupport
import Testing
import Varlink

/// Everything below runs in one private systemd, one test after the other: they share a port and a machine.
@Suite(.serialized, .enabled(if: SystemdHost.isAvailable, SystemdHost.remedy))
enum SystemTests {}

extension SystemTests {
  @Suite(.serialized) struct MainJobTests {
    @Test func oneInstanceRunsPinnedToItsGPUWithLeastPrivilege() async throws {
      try await InstalledPool.running { pool in
        let status = try await pool.ready(1)
        #expect(try await pool.instanceUnits() == ["ollama-instance-gpu0.service"])
        let instance = try #require(status.instance("gpu0"))
        #expect(instance.unit == "ollama-instance-gpu0.service")
        #expect(instance.gpus == ["GPU-00000000"])
        #expect(instance.url?.hasSuffix("127.0.0.1:11500") == true)

        let unit = "ollama-instance-gpu0.service"
        #expect(try await pool.property("Slice", of: unit) == "ollamapool.slice")
        #expect(try await pool.property("User", of: unit) == "ollama-pool-instance")
        #expect(try await pool.property("SupplementaryGroups", of: unit).contains("video"))
        #expect(try await pool.property("SupplementaryGroups", of: unit).contains("render"))
        #expect(try await pool.property("DevicePolicy", of: unit) == "closed")
        let devices = try await pool.property("DeviceAllow", of: unit)
        #expect(devices.contains("/dev/nvidia0"))
        #expect(devices.contains("/dev/nvidiactl"))
        #expect(!devices.contains("/dev/nvidia1"))

        let process = try await pool.mainPID(of: unit)
        #expect(process == instance.mainPID)
        let credentials = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        let userIDs = credentials.split(separator: "\n").first { $0.hasPrefix("Uid:") }?.split(separator: "\t")
          .dropFirst()
        #expect(userIDs?.contains("0") == false)
        let capabilities = credentials.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        #expect(capabilities?.hasSuffix("0000000000000000") == true)
        let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8).split(separator: "\0")
        #expect(environment.contains("CUDA_VISIBLE_DEVICES=GPU-00000000"))
        #expect(environment.contains("OLLAMA_VULKAN=0"))
        #expect(environment.contains("ROCR_VISIBLE_DEVICES=-1"))
        #expect(environment.contains("OLLAMA_HOST=127.0.0.1:11500"))
        #expect(environment.contains("OLLAMA_NUM_PARALLEL=1"))
      }
    }

    @Test func eightRequestsAtOnceGrowThePoolToFourAreServedInOrderAndItShrinksAgain() async throws {
      try await InstalledPool.running { pool in
        _ = try await pool.ready(1)
        let before = try await pool.journalCursor()
        let capacities = Capacities()
        try await capacities.watch()
        // One after the other, and late enough that all three are wanted before the first of them is ready.
        try await pool.setFaults("gpu1: slow-start 1.2\ngpu2: slow-start 1.6\ngpu3: slow-start 2")

        async let overtaking = overtakers(pool, of: 8)
        let answers = try await withThrowingTaskGroup(of: Conversation.Answer.self) { group in
          for number in 0..<8 {
            group.addTask { try await Conversation.chat(tokens: 100) }
            // Each is in the queue or being served before the next is sent, so that their order is known.
            try await pool.status("request \(number) has arrived") {
              $0.queueDepth + $0.inFlight == number + 1
            }
          }
          _ = try await pool.ready(4)
          try await expectParallelStarts(pool, since: before)
          return try await group.reduce(into: [Conversation.Answer]()) { $0.append($1) }
        }
        #expect(answers.count == 8 && answers.allSatisfy { $0.status == 200 && $0.isDone && $0.tokens == 100 })
        let overtakers = try await overtaking
        #expect(overtakers.isEmpty, "in service although one that came before still waits: \(overtakers)")

        try await pool.status(within: .seconds(30), "the pool shrinks to one") { $0.running.count == 1 }
        try await eventually("the other units are gone") {
          try await pool.instanceUnits() == ["ollama-instance-gpu0.service"]
        }
        // A push comes up to a tenth of a second after the change that it tells of.
        try await eventually("the watcher hears of one instance") { await capacities.seen.last == 1 }
        let seen = await capacities.seen
        await capacities.stop()
        let peak = try #require(seen.firstIndex(of: 4), "\(seen)")
        #expect(seen[...peak].elementsEqual([1, 2, 3, 4]), "\(seen)")
        #expect(zip(seen[peak...], seen[peak...].dropFirst()).allSatisfy { $0 > $1 }, "\(seen)")
        // Which was first: one instance more at each step, and each in the journal.
        let steps = try await pool.story(after: before).compactMap { entry in
          entry.message.firstMatch(of: /max_concurrent is now (\d+)$/).flatMap { Int($0.1) }
        }
        #expect(steps == [2, 3, 4])
      }
    }

    /// Follows the queue until so many requests were seen in service and none is left.
    /// - Returns: those that were served while one that had come before still waited.
    private func overtakers(_ pool: InstalledPool, of count: Int) async throws -> Set<Int> {
      var found: Set<Int> = []
      var served: Set<Int> = []
      try await eventually(within: .seconds(60), every: .milliseconds(20), "all have been served") {
        let requests = try await pool.requests()
        served.formUnion(requests.filter { $0.instance != nil }.map(\.id))
        if let next = requests.filter({ $0.instance == nil }).map(\.id).min() {
          found.formUnion(requests.filter { $0.instance != nil && $0.id > next }.map(\.id))
        }
        return served.count == count && requests.isEmpty
      }
      return found
    }

    /// The last of the three new units was started before the first of them was ready.
    private func expectParallelStarts(_ pool: InstalledPool, since before: String) async throws {
      let ids = ["gpu1", "gpu2", "gpu3"]
      var starts: [Duration] = []
      for id in ids {
        starts.append(try await pool.time("InactiveExitTimestampMonotonic", of: "ollama-instance-\(id).service"))
      }
      let ready = try await pool.story(after: before).filter { $0.message.contains("max_concurrent is now") }
      #expect(Set(ready.compactMap(\.instance)) == Set(ids))
      let (last, first) = (try #require(starts.max()), try #require(ready.map(\.time).min()))
      #expect(last < first, "started at \(starts), ready at \(ready.map(\.time))")
    }

    @Test func aChangedSpecificationReplacesInstancesOneAtATimeAndCutsNothing() async throws {
      try await InstalledPool.running("scaling: {min: 2, cold_start: 1s, window: 2s, shrink: 100%, idle_hold: 60s}") {
        pool in
        let before = try await pool.ready(2)
        let stream = try await Conversation.begun(tokens: 250)
        try await pool.configure(
          "scaling: {min: 2, cold_start: 1s, window: 2s, shrink: 100%, idle_hold: 60s}\nslots: 2")
        try await systemctl("reload", InstalledPool.supervisor)
        var fewest = Int.max
        try await pool.status(within: .seconds(60), "all instances have the new specification") { status in
          fewest = min(fewest, status.maxConcurrent)
          return status.running.count >= 2 && status.running.allSatisfy { $0.slots == 2 && $0.state == "ready" }
            && status.running.allSatisfy { new in !before.running.contains { $0.mainPID == new.mainPID } }
        }
        #expect(fewest >= 2)
        let answer = try await Conversation.finish(stream)
        #expect(answer.isDone && answer.tokens >= 249)
      }
    }
  }
}

/// What `WatchQueue` tells of `max_concurrent`, each value once in a row.
actor Capacities {
  private(set) var seen: [Int] = []
  private var client: VarlinkClient?
  private var reading: Task<Void, Never>?

  func watch() async throws {
    let client = try await VarlinkClient.connect(
      to: "/run/ollama-pool/dispatcher.sock", on: MultiThreadedEventLoopGroup.singleton)
    let replies = try await client.subscribe(
      DispatcherInterface.Method.watchQueue.qualified, NoParameters(), as: DispatcherCalls.WatchQueueReply.self)
    self.client = client
    reading = Task { [weak self] in
      do { for try await reply in replies { await self?.add(reply.queue.maxConcurrent) } } catch {}
    }
  }

  private func add(_ value: Int) { if seen.last != value { seen.append(value) } }

  func stop() async {
    reading?.cancel()
    await client?.close()
  }
}
