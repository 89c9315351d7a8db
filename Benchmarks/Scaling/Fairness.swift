import PoolCore
import Simulation

/// One who sends 191 requests every ten minutes beside four who ask one after the other: who waits how long, by the
/// order of service.
struct Fairness {
  let lengths: TokenLengths
  let seeds: Int

  private static let (gpus, slots) = (4, 4)
  private static let (crowd, interval) = (191, 600.0)
  private static let hours = 12.0
  /// All of them together.
  private static let load = 0.75
  private static let batch: UserID = "batch"

  private func workload(_ seed: UInt64, batchPriority: Int) -> Workload {
    var random = SeededGenerator(seed: seed)
    var requests: [WorkloadRequest] = []
    func add(at second: Double, _ user: UserID, priority: Int) {
      requests.append(
        WorkloadRequest(
          arrival: .zero + .seconds(rounding: second), inputTokens: lengths.input.sample(&random),
          outputTokens: lengths.output.sample(&random), user: user, priority: priority))
    }
    let capacity = Double(Self.gpus * Self.slots) / TokenSpeed().seconds(lengths, slots: Self.slots)
    let rate = Self.load * capacity - Double(Self.crowd) / Self.interval
    var second = 0.0
    while second < Self.hours * 3_600 {
      second += ExponentialGaps.next(&random) / rate
      add(at: second, UserID("interactive\(Int.random(in: 0..<4, using: &random))"), priority: 0)
    }
    for start in stride(from: 0, to: Self.hours * 3_600, by: Self.interval) {
      for _ in 0..<Self.crowd { add(at: start, Self.batch, priority: batchPriority) }
    }
    return Workload(requests.sorted { $0.arrival < $1.arrival })
  }

  private struct Waits {
    var interactive: [Double] = []
    var batch: [Double] = []

    var mean: Double { (interactive + batch).reduce(0, +) / Double(interactive.count + batch.count) }
  }

  private func waits(_ seed: UInt64, batchPriority: Int = 0, _ limits: DispatchLimits) -> Waits {
    var settings = ReplaySettings()
    (settings.gpus, settings.slots, settings.dispatchLimits) = (Self.gpus, Self.slots, limits)
    settings.scaling = ScalingSettings(minimum: Self.gpus, maximum: Self.gpus)
    let workload = workload(seed, batchPriority: batchPriority)
    var replay = Replay(workload, settings)
    replay.run()
    var waits = Waits()
    for (request, seen) in zip(workload.requests, replay.log.requests) {
      guard let started = seen.startedAt else { continue }
      let wait = (started - replay.log.began - (request.arrival - .zero)).seconds
      if request.user == Self.batch { waits.batch.append(wait) } else { waits.interactive.append(wait) }
    }
    return waits
  }

  func print() {
    Swift.print(
      """
      ### one who sends 191 at once, \(Self.gpus) GPUs, \(Int(Self.hours)) h

      | order of service | interactive p50 s | p95 s | FIFO's by it | batch p95 s | of FIFO's | mean of all, of FIFO's |
      |---|---|---|---|---|---|---|
      """)
    var fair = DispatchLimits()
    fair.isFair = true
    var aging = DispatchLimits()
    aging.aging = .seconds(300)
    let seeds = (1...UInt64(seeds)).map(\.self)
    let first = seeds.map { waits($0, DispatchLimits()) }
    func row(_ name: String, _ all: [Waits]) {
      func mean(_ value: (Waits) -> Double) -> Double { all.map(value).reduce(0, +) / Double(all.count) }
      func ratio(_ value: (Waits, Waits) -> Double) -> Double {
        zip(all, first).map(value).reduce(0, +) / Double(all.count)
      }
      func rank(_ part: Double, _ waits: [Double]) -> Double { ReplayFigures.rank(part, waits.sorted()) }
      let cells = [
        mean { rank(0.5, $0.interactive) }, mean { rank(0.95, $0.interactive) },
        ratio { rank(0.95, $1.interactive) / rank(0.95, $0.interactive) }, mean { rank(0.95, $0.batch) },
        ratio { rank(0.95, $0.batch) / rank(0.95, $1.batch) }, ratio { $0.mean / $1.mean },
      ]
      Swift.print("| \(name) | \(cells.map { "\(($0 * 100).rounded() / 100)" }.joined(separator: " | ")) |")
    }
    row("first in, first out", first)
    row("queue.fair", seeds.map { waits($0, fair) })
    row("a class before the other, aging 5 min", seeds.map { waits($0, batchPriority: 1, aging) })
    Swift.print("")
  }
}
