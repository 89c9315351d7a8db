import PoolCore
import Simulation
import Testing

/// Random histories of the whole pool, with the invariants checked after every step.
///
/// A failure prints its seed; `OLLAMA_POOL_SEED=… swift test --filter RandomHistory` repeats it alone, and
/// `OLLAMA_POOL_HISTORIES=…` runs another number of histories.
@Suite struct RandomHistoryTests {
  @Test func everyInvariantHoldsInTenThousandRandomHistories() async {
    let histories = Environment.value("OLLAMA_POOL_HISTORIES").flatMap(UInt64.init) ?? 10_000
    let seeds: Range<UInt64> = HistoryOfSeed.requestedSeed.map { $0..<$0 + 1 } ?? 0..<histories
    await withTaskGroup(of: Void.self) { group in
      let parts: UInt64 = 4
      for part in 0..<parts {
        group.addTask {
          for seed in seeds where seed % parts == part {
            HistoryOfSeed(seed).check()
            // Other suites wait for the same few threads, and have deadlines.
            await Task.yield()
          }
        }
      }
    }
  }

  @Test func theSameSeedGivesTheSameHistory() throws {
    for seed: UInt64 in 0..<50 {
      var one = HistoryOfSeed(seed).simulation
      var other = HistoryOfSeed(seed).simulation
      try one.run(until: .zero + .seconds(120))
      try other.run(until: .zero + .seconds(120))
      #expect(one.results == other.results)
      #expect(one.statistics == other.statistics)
    }
  }
}

/// A pool, a load and misfortunes, all made from one number.
struct HistoryOfSeed {
  let seed: UInt64
  let simulation: PoolSimulation
  private let minimum: Int
  /// How many run when all has come to rest: the minimum, on the GPUs that can be used.
  private let atRest: Int
  /// What these serve at once.
  private let capacity: Int
  private let requests: Int

  static var requestedSeed: UInt64? { Environment.value("OLLAMA_POOL_SEED").flatMap(UInt64.init) }

  init(_ seed: UInt64) {
    self.seed = seed
    var random = SeededGenerator(seed: seed)
    var settings = SimulationSettings()
    settings.gpus = Int.random(in: 1...4, using: &random)
    settings.slots = Int.random(in: 1...3, using: &random)
    minimum = Int.random(in: 0...settings.gpus, using: &random)
    settings.scaling = ScalingSettings(
      ScalingSettings.Preset.allCases.randomElement(using: &random)!, minimum: minimum,
      window: .seconds(Int.random(in: 1...30, using: &random)),
      idleHold: .seconds(Int.random(in: 1...20, using: &random)),
      coldStart: .seconds(Int.random(in: 1...20, using: &random)))
    settings.dispatchLimits.waitingRequests = Int.random(in: 5...100, using: &random)
    settings.dispatchLimits.stallTimeout = .seconds(Int.random(in: 5...60, using: &random))
    settings.dispatchLimits.firstByteLimit = .seconds(Int.random(in: 5...60, using: &random))
    if random.happens(0.3) { settings.dispatchLimits.preload = ["llama3.2:latest", "qwen3:latest"] }
    settings.fleetLimits.preload = settings.dispatchLimits.preload
    settings.fleetLimits.readsAhead = random.happens(0.7)
    if random.happens(0.2) { settings.dispatchLimits.maximumWait = .seconds(20) }
    settings.dispatchLimits.isFair = random.happens(0.7)
    settings.dispatchLimits.aging = random.happens(0.5) ? .seconds(Int.random(in: 5...60, using: &random)) : nil
    settings.fleetLimits.startTimeout = .seconds(15)
    settings.fleetLimits.restarts.quarantine = .seconds(60)

    settings.loadedModels = Int.random(in: 1...3, using: &random)

    // Slow wires leave time for things to cross.
    if random.happens(0.3) { settings.latency = .milliseconds(1)...(.milliseconds(900)) }
    // Slow starts come through when another supervisor is there.
    if random.happens(0.3) { settings.unitStart = .milliseconds(5)...(.seconds(8)) }

    var faults = SimulationSettings.Faults()
    if random.happens(0.3) { faults.instanceDies = 0.1 }
    if random.happens(0.2) { faults.streamStalls = 0.05 }
    if random.happens(0.2) { faults.startFails = 0.3 }
    if random.happens(0.2) { faults.neverAnswers = 0.2 }
    if random.happens(0.2) { faults.answersWithError = 0.2 }
    if random.happens(0.2) { faults.startsErring = 0.4 }
    if random.happens(0.2) { faults.breaks = 0.5 }
    if random.happens(0.2) { faults.hangs = .seconds(15) }
    if random.happens(0.2) { faults.listStalls = 0.5 }
    if random.happens(0.2) { faults.evictions = 0.3 }
    if random.happens(0.3) { faults.readersHang = 0.2 }
    if random.happens(0.1) { faults.startAnswersLost = 0.2 }
    if random.happens(0.2) { faults.linkBreaks = .seconds(10) }
    if random.happens(0.2) { faults.dispatcherRestarts = .seconds(30) }
    if random.happens(0.2) { faults.supervisorRestarts = .seconds(20) }
    if random.happens(0.2) { faults.specificationChanges = .seconds(25) }
    if random.happens(0.2) { faults.operatorOrders = .seconds(10) }
    if random.happens(0.2) { faults.orderChanges = .seconds(Int.random(in: 3...20, using: &random)) }
    if random.happens(0.2) { faults.priorityChanges = .seconds(Int.random(in: 1...10, using: &random)) }
    // What goes wrong around the supervisor goes wrong at the same time.
    if random.happens(0.1) {
      settings.unitStart = .milliseconds(5)...(.seconds(8))
      settings.unitStop = .milliseconds(5)...(.seconds(6))
      faults.startAnswersLost = 0.3
      faults.linkBreaks = .seconds(5)
      faults.supervisorRestarts = .seconds(10)
      faults.specificationChanges = .seconds(12)
      faults.operatorOrders = .seconds(4)
    }
    // What happens to GPUs happens where they are read.
    settings.readsGPUs = random.happens(0.5)
    if settings.readsGPUs {
      if random.happens(0.7) { faults.gpuChanges = .seconds(Int.random(in: 4...40, using: &random)) }
      if random.happens(0.3) { faults.startsDegraded = 0.3 }
      if random.happens(0.3) {
        // At least one can be used, or requests would wait for ever.
        settings.deadGPUs = Set((1..<settings.gpus).filter { _ in Bool.random(using: &random) })
      }
      settings.fleetLimits.yieldToOthers = random.happens(0.5)
    }
    settings.fleetLimits.networkIsForWriterOnly = random.happens(0.5)
    if random.happens(0.3) { faults.networkOrdersFail = 0.5 }
    if random.happens(0.1) { settings.fleetLimits.storeRefusal = "the store belongs to ollama.service" }
    settings.faults = faults
    atRest = min(minimum, settings.gpus - settings.deadGPUs.count)
    capacity = atRest * settings.slots

    let count = Int.random(in: 1...40, using: &random)
    requests = count
    let spread = Int64.random(in: 1...90, using: &random) * 1_000_000_000
    let others = random.happens(0.5) ? 0.2 : 0
    let models = ["llama3.2:latest", "gemma3:4b", "qwen3:8b"].prefix(Int.random(in: 0...3, using: &random))
    if settings.deadGPUs.isEmpty, models.count > 1, random.happens(0.5) {
      // Each model is some placement's, and how many are needed says little of which.
      settings.scaling.z = 0
      for (number, model) in models.enumerated() {
        settings.reservedModels[number % settings.gpus, default: []].append(model)
      }
    }
    let (users, priorities) = (Int.random(in: 1...8, using: &random), random.happens(0.3) ? 3 : 1)
    let limits = (0...users).map { _ in random.happens(0.3) ? Self.limits(&random) : UserLimits() }
    let absences = random.happens(0.3) ? 0.3 : 0
    let durable = random.happens(0.5) ? 0.5 : 0
    let lengths = random.happens(0.5) ? [nil, 8192, 32768] : [nil]
    let workload = (0..<count).map { _ in
      var request = SimulatedRequest(
        arrival: Instant(nanoseconds: Int64.random(in: 0...spread, using: &random)),
        service: random.duration(.milliseconds(50)...(random.happens(0.5) ? .seconds(2) : .seconds(40))),
        patience: random.happens(0.2) ? random.duration(.zero...(.seconds(60))) : nil)
      let user = Int.random(in: 1...users, using: &random)
      request.share.user = UserID("user\(user)")
      request.share.limits = limits[user]
      request.share.priority = Int.random(in: 0..<priorities, using: &random)
      request.share.weight = [0.5, 1, 2].randomElement(using: &random) ?? 1
      request.inputTokens = Int.random(in: 0...2000, using: &random)
      request.outputTokens = Int.random(in: 0...4000, using: &random)
      request.streams = !random.happens(others)
      request.model = models.randomElement(using: &random)
      request.options.contextLength = lengths.randomElement(using: &random) ?? nil
      if random.happens(absences) {
        request.absence = SimulatedRequest.Absence(
          after: random.duration(.zero...(.seconds(40))), time: random.duration(.zero...(.seconds(60))))
      }
      request.isDurable = random.happens(durable)
      if random.happens(others) {
        request.need = random.happens(0.5) ? .reference : random.happens(0.5) ? .storeReference : .networkReference
        // Without a draw of its own, so that each seed's history is the one that it was.
        if request.need == .networkReference, request.inputTokens.isMultiple(of: 2) { request.need = .remoteInference }
        request.isReplayable = request.need != .storeReference || random.happens(0.5)
      }
      return request
    }
    simulation = PoolSimulation(settings: settings, workload: workload, seed: random.next())
  }

  private static func limits(_ random: inout SeededGenerator) -> UserLimits {
    func some(_ range: ClosedRange<Int>, _ random: inout SeededGenerator) -> Int? {
      random.happens(0.5) ? Int.random(in: range, using: &random) : nil
    }
    return UserLimits(
      requestsPerHour: some(1...20, &random), tokensPerHour: some(1...30_000, &random),
      concurrent: some(1...6, &random), waiting: some(0...4, &random))
  }

  /// Runs the history, lets it come to rest, and looks at what is left.
  func check() {
    var pool = simulation
    do {
      try pool.run(until: .zero + .seconds(120))
      pool.calm()
      // Both daemons are back by then.
      try pool.run(until: pool.now + .seconds(10))
      for _ in 0..<300
      where
        !(pool.results.count == requests && pool.runningUnits.count == atRest && pool.standingOrders.isEmpty
        && pool.staleUnits.isEmpty && pool.degradedUnits.isEmpty && pool.strayNetworks.isEmpty
        && pool.maxConcurrent == capacity)
      {
        try pool.run(until: pool.now + .seconds(10))
      }
      // Every request ended, and nothing outlives the wish for it.
      #expect(pool.results.count == requests, "seed \(seed): some requests never ended")
      #expect(pool.runningUnits.count == atRest, "seed \(seed): \(pool.runningUnits) run, \(atRest) should")
      #expect(pool.staleUnits.isEmpty, "seed \(seed): \(pool.staleUnits) were never replaced")
      #expect(pool.degradedUnits.isEmpty, "seed \(seed): \(pool.degradedUnits) compute on the CPU")
      #expect(pool.strayNetworks.isEmpty, "seed \(seed): \(pool.strayNetworks) should have another network")
      #expect(pool.maxConcurrent == capacity, "seed \(seed): \(pool.maxConcurrent) slots of \(capacity) get work")
      #expect(pool.standingOrders.isEmpty, "seed \(seed): the orders to \(pool.standingOrders) never end")
      pool.stopAll()
      // A start may be on its way.
      try pool.run(until: pool.now + .seconds(30))
      #expect(pool.runningUnits.isEmpty, "seed \(seed): \(pool.runningUnits) run after the whole pool was stopped")
    } catch {
      Issue.record("seed \(seed): \(error)")
      return
    }
  }
}
