import Foundation
import PoolConfiguration
import PoolCore
import QueueStore
import Simulation
import TestSupport
import Testing

extension SystemTests {
  /// Whether what docs/scaling.md says by simulation is so: the same requests go through a pool that is installed and
  /// through the simulation, with the same configuration and the same speed of the instances.
  @Suite(.serialized) struct SimulationAgreementTests {
    /// How far the two may be from one another: at least twice what was measured on two processors, also beside what
    /// kept both busy (docs/scaling.md has the figures), and less than a wrong cold start or speed makes.
    ///
    /// The simulation has neither processes nor timers. In a pool each token comes some milliseconds late, a cold start
    /// takes longer where processes wait for a processor, and whatever waits in a burst waits longer for both. In the
    /// other direction, of an answer of n tokens only n − 1 take their time: the first comes with the end of the
    /// question. The simulation has n, which counts with answers as short as here.
    private enum Tolerance {
      /// Of the mean, the median and the 95th percentile of the waits, in seconds.
      static let wait = 0.75
      /// Of the wait of one and the same request, for 95 of 100, in seconds. It is more, since answers that end at
      /// nearly the same time may end in another order.
      static let waitOfOne = 1.0
      /// Of the share that waits longer than a second. Some wait nearly as long.
      static let overSecond = 0.1
      /// Of the moment at which a target changes, in seconds. What nothing else happens with is looked at each second,
      /// and what a burst leaves behind stays in the window for as much longer as it takes longer.
      static let step = 3.0
      /// Of the target on average over the time, in instances: so that not all steps are late.
      static let target = 0.1
      /// Of the GPU time, in parts of it. In the simulation an instance takes a second to end, and a simulator hardly
      /// any time.
      static let gpuTime = 0.06
    }

    /// How instances compute, in the simulation and as the simulator is told.
    private static let speed = TokenSpeed(prefill: 2_400, decode: 40, slowdown: 0.25)
    private static let coldStart = 3.0
    /// Of the cold start. The rest is for systemd, the process and the probes.
    private static let (discovery, load) = (1.4, 1.4)

    private static let settings = """
      slots: 2
      preload: [llama3.2]
      scaling: {min: 1, max: 4, z: 1, smoothing: 2s, window: 8s, shrink: 50%, shrink_period: 25s, idle_hold: 2s, \
      cold_start: 3s}
      """
    private static let environment = [
      "OLLAMA_SIMULATOR_DISCOVERY_SECONDS": "\(discovery)", "OLLAMA_SIMULATOR_LOAD_SECONDS": "\(load)",
      "OLLAMA_SIMULATOR_TOKENS_PER_SECOND": "\(speed.decode)", "OLLAMA_SIMULATOR_SLOWDOWN": "\(speed.slowdown)",
      "OLLAMA_SIMULATOR_PROMPT_TOKENS_PER_SECOND": "\(speed.prefill)", "OLLAMA_SIMULATOR_FIRST_TOKEN_SECONDS": "0",
    ]

    @Test func aPoolMakesWaitAndScalesAsItsSimulationDoes() async throws {
      let workload = BriefWorkload.make(seed: 4)
      try await InstalledPool.running(Self.settings, environment: Self.environment) { pool in
        try await pool.status("one instance is ready") { $0.maxConcurrent == 2 }
        let real = try await Self.serve(workload, pool)
        let simulated = try Self.simulated(workload)
        print("the pool: \(real)\nits simulation: \(simulated)\n\(real.difference(from: simulated))")
        Self.compare(real, simulated)
        let recorded = try await Self.recorded(pool)
        print("its history, replayed: \(recorded)")
        Self.compare(recorded, real)
      }
    }

    private static func compare(_ real: PoolCourse, _ simulated: PoolCourse) {
      #expect(abs(real.waitMean - simulated.waitMean) <= Tolerance.wait)
      #expect(abs(real.waitP50 - simulated.waitP50) <= Tolerance.wait)
      #expect(abs(real.waitP95 - simulated.waitP95) <= Tolerance.wait)
      #expect(real.waitDifference(from: simulated, rank: 0.95) <= Tolerance.waitOfOne)
      let overSecond = abs(real.overSecond - simulated.overSecond)
      #expect(Double(overSecond) <= Tolerance.overSecond * Double(real.waits.count))
      // So much is asked that all instances come, and all but one go again.
      #expect(simulated.targets.map(\.count) == [1, 2, 3, 4, 3, 2, 1])
      #expect(real.targets.map(\.count) == simulated.targets.map(\.count))
      #expect(real.stepDifference(from: simulated) <= Tolerance.step)
      #expect(real.targetDifference(from: simulated) <= Tolerance.target)
      #expect(real.held.map(\.count) == simulated.held.map(\.count))
      #expect(abs(real.gpuSeconds / simulated.gpuSeconds - 1) <= Tolerance.gpuTime)
    }

    /// What `ollama-pool simulate` makes of what the dispatcher has recorded is what was.
    private static func compare(_ recorded: SimulatedFigures, _ real: PoolCourse) {
      #expect(recorded.requests == real.waits.count && recorded.unserved == 0 && recorded.cut == 0)
      #expect(abs(recorded.waitMean - real.waitMean) <= Tolerance.wait)
      #expect(abs(recorded.waitP50 - real.waitP50) <= Tolerance.wait)
      #expect(abs(recorded.waitP95 - real.waitP95) <= Tolerance.wait)
      #expect(
        abs(recorded.shareOverSecond - Double(real.overSecond) / Double(real.waits.count)) <= Tolerance.overSecond)
      #expect(recorded.starts == real.starts)
      #expect(abs(recorded.gpuHours * 3_600 / real.gpuSeconds - 1) <= Tolerance.gpuTime)
    }

    private static func simulated(_ workload: Workload) throws -> PoolCourse {
      let configured = try ConfigurationReader.read(path: InstalledPool.configuration).settings
      var settings = ReplaySettings()
      settings.gpus = 4
      settings.slots = configured.slots
      settings.speed = speed
      settings.coldStart = .seconds(coldStart)...(.seconds(coldStart))
      settings.scaling = configured.scaling.rule
      settings.dispatchLimits = configured.dispatchLimits
      var replay = Replay(workload, settings)
      replay.run()
      return PoolCourse(replay.log, of: workload)
    }

    /// The workload, in the time that it takes.
    private static func serve(_ workload: Workload, _ pool: InstalledPool) async throws -> PoolCourse {
      let began = ContinuousClock.now
      try await withThrowingTaskGroup(of: Void.self) { group in
        for request in workload.requests {
          let due = began + (request.arrival - .zero)
          try await eventually(every: max(.zero, due - .now), "a request's time has come") { .now >= due }
          group.addTask { try await BriefWorkload.ask(request) }
        }
        try await group.waitForAll()
      }
      let ended = ContinuousClock.now
      let past = try await eventualValue("the history has all requests") {
        let past = try RequestHistory.read(BriefWorkload.history, most: 2 * workload.requests.count)
        return past.count == workload.requests.count ? past : nil
      }
      return try PoolCourse(
        past, of: workload, await pool.story(), began: MonotonicTime.of(began), ended: MonotonicTime.of(ended))
    }

    /// Of what `ollama-pool simulate --json` says, what is compared.
    private struct SimulatedFigures: Decodable {
      var requests, unserved, cut, starts: Int
      var gpuHours, waitMean, waitP50, waitP95, shareOverSecond: Double
    }

    private struct SimulatedRuns: Decodable {
      struct Run: Decodable { var figures: [SimulatedFigures] }
      var runs: [Run]
    }

    private static func recorded(_ pool: InstalledPool) async throws -> SimulatedFigures {
      let command = try await pool.pool(
        "simulate", "--trace", BriefWorkload.history, "--gpus", "4", "--cold-start", "\(Int(coldStart))s",
        "--prefill-rate", "\(speed.prefill)", "--decode-rate", "\(speed.decode)", "--slowdown", "\(speed.slowdown)",
        "--json")
      guard command.end == .exited(0) else { throw Failed("simulate: \(command.output)\(command.errorOutput)") }
      let said = try JSONDecoder().decode(SimulatedRuns.self, from: Data(command.output.utf8))
      return try #require(said.runs.first?.figures.first)
    }
  }
}
