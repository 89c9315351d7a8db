import PoolCore
import Simulation

/// One pool and policy, with each seed.
struct SimulatedRun {
  let gpus: Int
  let policy: SimulatedPolicy
  let seeds: [ReplayFigures]

  func mean(_ figure: (ReplayFigures) -> Double) -> Double {
    seeds.isEmpty ? 0 : seeds.reduce(0) { $0 + figure($1) } / Double(seeds.count)
  }

  /// With each seed.
  func reaches(_ goal: ReplayGoal) -> Bool { seeds.allSatisfy(goal.isReached) }

  /// How far it is from a goal at worst.
  func distance(from goal: ReplayGoal) -> Double {
    seeds.map { $0.unserved > 0 ? .infinity : goal.value($0) }.max() ?? .infinity
  }
}

/// What `simulate` says.
struct SimulationReport {
  let runs: [SimulatedRun]
  let goal: ReplayGoal?
  /// Whether the table has what came of there being several models.
  let showsModels: Bool

  /// Of the fewest GPUs that reach the goal, the cheapest policy.
  private var best: SimulatedRun? {
    guard let goal else { return nil }
    let reaching = runs.filter { $0.reaches(goal) }
    let fewest = reaching.map(\.gpus).min()
    return reaching.filter { $0.gpus == fewest }.min { $0.mean(\.gpuHours) < $1.mean(\.gpuHours) }
  }

  var failure: CommandFailure? {
    guard let goal, best == nil, let closest = runs.min(by: { $0.distance(from: goal) < $1.distance(from: goal) })
    else {
      return nil
    }
    let value = closest.mean(goal.value)
    let shown = goal.figure.isTime ? Quantity.duration(seconds: value) : Self.percent(value)
    return CommandFailure(
      "\(goal) is not reached: \(Quantity.count(closest.gpus, "GPU")) with \(closest.policy.rawValue) comes closest, "
        + "with \(shown)", remedy: "try more with --gpus")
  }

  func text(on terminal: Terminal) -> String {
    var columns: [Table.Column] = [
      .number("GPUS"), "POLICY", .number("REQUESTS"), .number("WAIT P50"), .number("P95"), .number("P99"),
      .number("OVER 1S"), .number("GPU TIME"), .number("STARTS"), .number("FLAPS/H"), .number("CUT"),
      .number("UNSERVED"), .number("WAPE"), .number("BIAS"), .number("IN P90"),
    ]
    if showsModels { columns += [.number("LOADS"), .number("AWAITED")] }
    var table = Table(columns)
    table.rows = runs.map { run in
      func time(_ figure: (ReplayFigures) -> Double) -> Table.Cell {
        Table.Cell(Quantity.duration(seconds: run.mean(figure)))
      }
      func share(_ figure: (ReplayFigures) -> Double) -> Table.Cell { Table.Cell(Self.percent(run.mean(figure))) }
      func count(_ figure: (ReplayFigures) -> Int) -> Table.Cell {
        Table.Cell(Int(run.mean { Double(figure($0)) }.rounded()))
      }
      return [
        Table.Cell(run.gpus), Table.Cell(run.policy.rawValue), count(\.requests), time(\.waitP50), time(\.waitP95),
        time(\.waitP99), share(\.shareOverSecond), share(\.gpuShare), count(\.starts),
        Table.Cell(Self.tenths(run.mean(\.flapsPerHour))), count(\.cut), count(\.unserved), share(\.eta.wape),
        share(\.eta.bias), share(\.eta.coverage),
      ] + (showsModels ? [count(\.loads), share(\.shareAwaitingModel)] : [])
    }
    var lines = [table.text(on: terminal)]
    if let goal, let best {
      lines.append(
        "\(goal): \(Quantity.count(best.gpus, "GPU")) with \(best.policy.rawValue), which takes "
          + "\(Self.tenths(best.mean(\.gpuHours))) GPU hours of \(Self.tenths(best.mean(\.hours) * Double(best.gpus)))."
      )
    }
    return lines.joined(separator: "\n")
  }

  private static func percent(_ share: Double) -> String { tenths(share * 100) + "%" }

  private static func tenths(_ value: Double) -> String {
    let tenths = Int((abs(value) * 10).rounded())
    return (value < 0 && tenths > 0 ? "-" : "") + "\(tenths / 10).\(tenths % 10)"
  }

  // MARK: For programs

  struct JSON: Encodable {
    let runs: [Run]
    let goal: Goal?
  }

  struct Goal: Encodable {
    let goal: String
    let gpus: Int?
    let policy: String?
  }

  struct Run: Encodable {
    let gpus: Int
    let policy: String
    /// One for each seed.
    let figures: [Figures]
  }

  struct Figures: Encodable {
    let requests, unserved, cut, starts, flaps, loads: Int
    let hours, gpuHours, gpuShare: Double
    let waitMean, waitP50, waitP95, waitP99, shareOverSecond, shareAwaitingModel: Double
    let etaWAPE, etaBias, etaCoverage90: Double

    init(_ figures: ReplayFigures) {
      (requests, unserved, cut) = (figures.requests, figures.unserved, figures.cut)
      (starts, flaps, loads) = (figures.starts, figures.flaps, figures.loads)
      (hours, gpuHours, gpuShare) = (figures.hours, figures.gpuHours, figures.gpuShare)
      (waitMean, waitP50, waitP95, waitP99) = (figures.waitMean, figures.waitP50, figures.waitP95, figures.waitP99)
      (shareOverSecond, shareAwaitingModel) = (figures.shareOverSecond, figures.shareAwaitingModel)
      (etaWAPE, etaBias, etaCoverage90) = (figures.eta.wape, figures.eta.bias, figures.eta.coverage)
    }
  }

  var json: JSON {
    JSON(
      runs: runs.map { Run(gpus: $0.gpus, policy: $0.policy.rawValue, figures: $0.seeds.map(Figures.init)) },
      goal: goal.map { Goal(goal: "\($0)", gpus: best?.gpus, policy: best?.policy.rawValue) })
  }
}
