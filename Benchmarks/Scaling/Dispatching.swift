import DequeModule
import Glibc
import PoolCore
import Simulation

/// What one queue for all instances is worth: beside proxies that choose an instance when a request comes, each
/// instance with a queue of its own.
struct Dispatching {
  let lengths: TokenLengths
  let seeds: Int

  private static let (gpus, slots) = (4, 4)
  private static let loads = [0.7, 0.8, 0.9]
  private static let hours = 24.0

  private enum Choice: String, CaseIterable {
    case shortest = "join the shortest queue"
    case twoChoices = "the shorter of two by chance"
    case roundRobin = "round robin"
    case random = "by chance"
  }

  private func workload(_ seed: UInt64, load: Double) -> Workload {
    var random = SeededGenerator(seed: seed)
    let rate = load * Double(Self.gpus * Self.slots) / TokenSpeed().seconds(lengths, slots: Self.slots)
    var second = 0.0
    var requests: [WorkloadRequest] = []
    while second < Self.hours * 3_600 {
      second += ExponentialGaps.next(&random) / rate
      requests.append(
        WorkloadRequest(
          arrival: .zero + .seconds(rounding: second), inputTokens: lengths.input.sample(&random),
          outputTokens: lengths.output.sample(&random)))
    }
    return Workload(requests)
  }

  private func central(_ workload: Workload) -> Double {
    var settings = ReplaySettings()
    (settings.gpus, settings.slots) = (Self.gpus, Self.slots)
    settings.scaling = ScalingSettings(minimum: Self.gpus, maximum: Self.gpus)
    var replay = Replay(workload, settings)
    replay.run()
    return ReplayFigures(replay.log, of: workload, gpus: Self.gpus).waitMean
  }

  /// The mean wait.
  private func split(_ workload: Workload, _ choice: Choice, seed: UInt64) -> Double {
    enum Event { case arrival(Int), step(Int, version: Int) }
    var random = SeededGenerator(seed: seed)
    var instances = (0..<Self.gpus).map { SimulatedInstance(life: $0, speed: TokenSpeed(), at: .zero) }
    var running = [Int](repeating: 0, count: Self.gpus)
    var queues = [Deque<Int>](repeating: [], count: Self.gpus)
    var events = EventQueue<Event>()
    var waited = 0.0
    for (number, request) in workload.requests.enumerated() { events.schedule(.arrival(number), at: request.arrival) }
    func length(_ place: Int) -> Int { running[place] + queues[place].count }
    func chosen(_ number: Int) -> Int {
      let some = Int.random(in: 0..<Self.gpus, using: &random)
      switch choice {
      case .shortest: return (0..<Self.gpus).min { length($0) < length($1) } ?? 0
      case .twoChoices:
        let other = (some + Int.random(in: 1..<Self.gpus, using: &random)) % Self.gpus
        return length(other) < length(some) ? other : some
      case .roundRobin: return number % Self.gpus
      case .random: return some
      }
    }
    while let (now, event) = events.next() {
      let place: Int
      switch event {
      case .arrival(let number):
        place = chosen(number)
        queues[place].append(number)
      case .step(let number, let version):
        guard instances[number].version == version else { continue }
        place = number
        if case .end = instances[place].step(at: now) { running[place] -= 1 }
      }
      while running[place] < Self.slots, let next = queues[place].popFirst() {
        running[place] += 1
        let request = workload.requests[next]
        waited += (now - request.arrival).seconds
        instances[place].begin(RequestID(UInt64(next)), request, at: now)
      }
      if let next = instances[place].nextStep {
        events.schedule(.step(place, version: instances[place].version), at: max(now, next))
      }
    }
    return waited / Double(workload.requests.count)
  }

  func print() {
    func mean(_ values: [Double]) -> String {
      "\((values.reduce(0, +) / Double(values.count) * 100).rounded() / 100)"
    }
    var rows = [["this pool: one queue"]] + Choice.allCases.map { [$0.rawValue] }
    for load in Self.loads {
      let workloads = (1...UInt64(seeds)).map { ($0, workload($0, load: load)) }
      let whole = workloads.map { central($1) }
      rows[0] += [mean(whole), "1"]
      for (index, choice) in Choice.allCases.enumerated() {
        let waits = workloads.map { split($1, choice, seed: $0) }
        rows[index + 1] += [mean(waits), mean(zip(whole, waits).map { $0 / $1 })]
      }
    }
    let heads = Self.loads.map { "mean wait s at load \($0) | this pool's of it" }
    Swift.print(
      """
      ### where a request goes, \(Self.gpus) GPUs, \(Int(Self.hours)) h

      | dispatch | \(heads.joined(separator: " | ")) |
      |---|\(String(repeating: "---|", count: 2 * heads.count))
      \(rows.map { "| \($0.joined(separator: " | ")) |" }.joined(separator: "\n"))

      """)
  }
}

/// Between arrivals that know nothing of each other; their mean is 1.
enum ExponentialGaps {
  static func next(_ random: inout SeededGenerator) -> Double { -log(1 - Double.random(in: 0..<1, using: &random)) }
}
