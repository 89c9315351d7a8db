package import PoolCore

/// What a replay comes to.
package struct ReplayFigures: Hashable, Sendable {
  /// In seconds; nearest rank.
  package var waitMean = 0.0
  package var waitP50 = 0.0
  package var waitP95 = 0.0
  package var waitP99 = 0.0
  /// Of the requests, which waited longer than a second.
  package var shareOverSecond = 0.0
  package var requests = 0
  /// That did not end served.
  package var unserved = 0
  /// That had a slot and lost it.
  package var cut = 0
  package var hours = 0.0
  /// Hours of GPUs that instances held: starting, ready and draining.
  package var gpuHours = 0.0
  /// Of what a pool would hold that is always whole.
  package var gpuShare = 0.0
  package var starts = 0
  /// Starts and stops that came within ``flapTime`` of the opposite.
  package var flaps = 0
  /// Of models, on instances in use.
  package var loads = 0
  /// Of the requests, which waited on an instance for their model.
  package var shareAwaitingModel = 0.0
  package var eta = EstimateErrors()

  package static let flapTime: Duration = .seconds(120)

  package var flapsPerHour: Double { hours > 0 ? Double(flaps) / hours : 0 }

  package init(_ log: ReplayLog, of workload: Workload, gpus: Int) {
    var waits: [Double] = []
    waits.reserveCapacity(workload.requests.count)
    for (request, seen) in zip(workload.requests, log.requests) {
      let wait = ((seen.startedAt ?? log.ended) - (log.began + (request.arrival - .zero))).seconds
      waits.append(wait)
      if seen.outcome != .served {
        unserved += 1
        if seen.startedAt != nil { cut += 1 }
      }
      // As the pool's own metrics: a guess says nothing of how good estimates are.
      if let foreseen = seen.foreseen, !foreseen.isGuess, seen.startedAt != nil {
        eta.add(foreseen: foreseen.wait.seconds, foreseen90: foreseen.wait90.seconds, actual: wait)
      }
    }
    requests = waits.count
    waitMean = waits.isEmpty ? 0 : waits.reduce(0, +) / Double(waits.count)
    shareOverSecond = waits.isEmpty ? 0 : Double(waits.count { $0 > 1 }) / Double(waits.count)
    loads = log.loads.count { $0 >= log.began }
    shareAwaitingModel = waits.isEmpty ? 0 : Double(log.requests.count(where: \.awaitedModel)) / Double(waits.count)
    waits.sort()
    (waitP50, waitP95, waitP99) = (Self.rank(0.5, waits), Self.rank(0.95, waits), Self.rank(0.99, waits))
    hours = (log.ended - log.began).seconds / 3_600
    gpuHours = Self.gpuSeconds(log) / 3_600
    gpuShare = hours > 0 ? gpuHours / (hours * Double(gpus)) : 0
    let orders = log.orders.filter { $0.at >= log.began }
    starts = orders.count(where: \.isStart)
    flaps = zip(orders, orders.dropFirst()).count { $0.isStart != $1.isStart && $1.at - $0.at <= Self.flapTime }
  }

  /// The nearest rank.
  package static func rank(_ part: Double, _ sorted: [Double]) -> Double {
    sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, max(0, Int((part * Double(sorted.count)).rounded(.up)) - 1))]
  }

  private static func gpuSeconds(_ log: ReplayLog) -> Double {
    var seconds = 0.0
    for (index, step) in log.held.enumerated() {
      let end = index + 1 < log.held.count ? log.held[index + 1].at : log.ended
      seconds += max(0, (min(end, log.ended) - max(step.at, log.began)).seconds) * Double(step.count)
    }
    return seconds
  }
}
