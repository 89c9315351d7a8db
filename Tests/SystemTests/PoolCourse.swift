import Foundation
import PoolCore
import QueueStore
import Simulation
import TestSupport

/// What became of a workload, in a pool or in the simulation. Times are seconds since the workload's beginning.
struct PoolCourse {
  /// How many there were from then on.
  struct Step: Equatable {
    var at: Double
    var count: Int
  }

  /// In the order of the workload.
  var waits: [Double]
  /// Instances that were to be.
  var targets: [Step]
  /// Instances that held a GPU: from the order to start to the unit's end.
  var held: [Step]
  /// How long instances that came in this time took to be ready; of the simulation none, where it is given.
  var coldStarts: [Double]
  /// When the last request was answered.
  var ended: Double

  var waitMean: Double { waits.reduce(0, +) / Double(max(1, waits.count)) }
  var waitP50: Double { ReplayFigures.rank(0.5, waits.sorted()) }
  var waitP95: Double { ReplayFigures.rank(0.95, waits.sorted()) }
  var overSecond: Int { waits.count { $0 > 1 } }
  var mostHeld: Int { held.map(\.count).max() ?? 0 }
  var gpuSeconds: Double { Self.integral(held, until: ended) }

  /// Orders to start.
  var starts: Int { zip(held, held.dropFirst()).count { $0.count < $1.count } }

  /// How far the same steps of the targets are from one another at most.
  func stepDifference(from other: PoolCourse) -> Double {
    zip(targets, other.targets).map { abs($0.at - $1.at) }.max() ?? 0
  }

  /// How far the targets of two courses are from one another, on average over the time.
  func targetDifference(from other: PoolCourse) -> Double {
    let times = (targets + other.targets).map(\.at).filter { $0 < ended }
    let difference = times.map { Step(at: $0, count: abs(Self.count(targets, $0) - Self.count(other.targets, $0))) }
    return Self.integral(difference.sorted { $0.at < $1.at }, until: ended) / ended
  }

  /// How far the waits of the same requests are from one another: the nearest rank.
  func waitDifference(from other: PoolCourse, rank: Double) -> Double {
    ReplayFigures.rank(rank, zip(waits, other.waits).map { abs($0 - $1) }.sorted())
  }

  private static func count(_ steps: [Step], _ at: Double) -> Int { steps.last { $0.at <= at }?.count ?? 0 }

  private static func integral(_ steps: [Step], until end: Double) -> Double {
    zip(steps, steps.dropFirst().map(\.at) + [end]).reduce(0) { sum, part in
      sum + Double(part.0.count) * max(0, min(part.1, end) - max(0, part.0.at))
    }
  }

  /// Without what was before the beginning, but for how it began.
  private static func since(_ steps: [Step]) -> [Step] {
    let before = steps.last { $0.at <= 0 }
    return (before.map { [Step(at: 0, count: $0.count)] } ?? []) + steps.filter { $0.at > 0 }
  }
}

extension PoolCourse {
  init(_ log: ReplayLog, of workload: Workload) {
    func time(_ instant: Instant) -> Double { (instant - log.began).seconds }
    waits = zip(workload.requests, log.requests).map {
      time($1.startedAt ?? log.ended) - ($0.arrival - .zero).seconds
    }
    targets = Self.since(log.targets.map { Step(at: time($0.at), count: $0.count) })
    held = Self.since(log.held.map { Step(at: time($0.at), count: $0.count) })
    coldStarts = []
    ended = time(log.ended)
  }

  /// Of a pool, by its own records.
  /// - Parameters:
  ///   - story: the daemons' entries in the journal, since the pool's start.
  ///   - began: since the machine's start.
  init(_ past: [PastRequest], of workload: Workload, _ story: [JournalEntry], began: Duration, ended: Duration) throws {
    // By the lengths of the answers, of which no two are the same.
    let asked = workload.requests.indices.sorted {
      workload.requests[$0].outputTokens < workload.requests[$1].outputTokens
    }
    waits = Array(repeating: 0, count: asked.count)
    for (number, record) in zip(asked, past.sorted { $0.outputTokens < $1.outputTokens }) {
      guard let wait = record.wait, record.outcome == .served,
        record.outputTokens == workload.requests[number].outputTokens
      else { throw Failed("\(workload.requests[number]) is recorded as \(record)") }
      waits[number] = Double(wait) / 1_000
    }
    var (targets, held, coldStarts): ([Step], [Step], [Double]) = ([], [], [])
    var ordered: [String?: Double] = [:]
    for entry in story {
      let at = (entry.time - began).seconds
      if let match = entry.message.firstMatch(of: /^target (\d+) \(was \d+\)/) {
        targets.append(Step(at: at, count: Int(match.1) ?? 0))
      } else if entry.message.contains(/^gpu\d+ starts/) {
        held.append(Step(at: at, count: (held.last?.count ?? 0) + 1))
        ordered[entry.instance] = at
      } else if entry.message.contains(/^gpu\d+ has stopped/) {
        held.append(Step(at: at, count: (held.last?.count ?? 0) - 1))
      } else if entry.message.contains(/^gpu\d+ ready after/), let order = ordered[entry.instance], order >= 0 {
        coldStarts.append(at - order)
      }
    }
    self.targets = Self.since(targets)
    self.held = Self.since(held)
    self.coldStarts = coldStarts
    self.ended = (ended - began).seconds
  }
}

extension PoolCourse: CustomStringConvertible {
  var description: String {
    func text(_ seconds: Double) -> String { String(format: "%.2f", seconds) }
    func text(_ steps: [Step]) -> String { steps.map { "\($0.count)@\(text($0.at))" }.joined(separator: " ") }
    return """
      wait mean \(text(waitMean)) p50 \(text(waitP50)) p95 \(text(waitP95)) max \(text(waits.max() ?? 0)), \
      \(overSecond) of \(waits.count) over 1 s; targets \(text(targets)); held \(text(held)); \
      \(text(gpuSeconds)) GPU seconds in \(text(ended)) s; cold starts \(coldStarts.map(text))
      """
  }

  /// Of all that is compared, in words.
  func difference(from other: PoolCourse) -> String {
    func text(_ number: Double) -> String { String(format: "%+.3f", number) }
    return """
      differences: wait mean \(text(waitMean - other.waitMean)) p50 \(text(waitP50 - other.waitP50)) \
      p95 \(text(waitP95 - other.waitP95)), of one request p50 \(text(waitDifference(from: other, rank: 0.5))) \
      p95 \(text(waitDifference(from: other, rank: 0.95))) max \(text(waitDifference(from: other, rank: 1))), \
      over 1 s \(overSecond - other.overSecond); steps \(text(stepDifference(from: other))), \
      target \(text(targetDifference(from: other))); GPU time \(text(gpuSeconds / other.gpuSeconds - 1))
      """
  }
}
