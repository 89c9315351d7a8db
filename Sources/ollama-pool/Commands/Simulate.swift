import ArgumentParser
import FoundationEssentials
import Glibc
import PoolConfiguration
import PoolCore
import Simulation

struct Simulate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Replay a workload through this pool in virtual time: who waits how long, and what it costs.",
    discussion: """
      The queue, the dispatch, the scaling and the estimate are those of the pool itself, with the configuration that \
      is read and changed by --set. The GPUs, the cold start and the speed are as given here. A trace is Azure's (CSV \
      with TIMESTAMP, ContextTokens, GeneratedTokens), Mooncake's (JSON lines with timestamp, input_length, \
      output_length), ServeGen's rates (CSV), of which requests are made with --tokens, or what this pool has recorded \
      itself: history.sqlite in the dispatcher's state folder.

      WAIT is from the arrival to a slot; GPU TIME is what instances hold, of what always running ones would; FLAPS are \
      starts and stops within two minutes of the opposite; WAPE is what the foreseen waits are off, BIAS how much more \
      was foreseen, and IN P90 how many waits were within what was foreseen for nine of ten. Where the trace names \
      several models, as this pool's own does, LOADS are those that instances in use loaded, and AWAITED how many \
      requests waited there for one, which is beside WAIT.

      For example: ollama-pool simulate --trace AzureLLMInferenceTrace_conv.csv --gpus 1..8 --goal 'p95 < 5s'
      """)

  @OptionGroup var configuration: ConfigurationOptions
  @OptionGroup(title: "Workload") var workload: WorkloadOptions
  @OptionGroup(title: "Pool") var pool: SimulatedPoolOptions

  @Option(
    help: ArgumentHelp(
      "What the pool is to reach: the fewest GPUs and the cheapest policy that do.",
      discussion: "Of mean, p50, p95, p99 (a time) and over-1s (a share), as 'p95 < 5s'.", valueName: "goal"))
  var goal: String?
  @Flag(help: "Print JSON.") var json = false
  @Option(
    help: ArgumentHelp(
      "Draw the first run's arrivals, queue, instances and waits over time, as SVG.", valueName: "file"),
    completion: .file(extensions: ["svg"]))
  var plot: String?

  func run() async throws {
    let goal = try wantedGoal()
    let base = try configuration.read(changes: pool.changes()).settings
    let gpus = pool.gpus ?? NumberRange(goal == nil ? 4...4 : 1...8)
    let policies = pool.policies(goal != nil, base)
    let progress = ProgressLine()
    // Before an error is told, too.
    defer { progress.end() }
    progress.show("reading \(workload.trace)")
    let source = try workload.read()
    let startsAt = workload.startsAt?.time ?? source.startsAt ?? WeekTime(day: 0, minute: 0)
    var runs: [SimulatedRun] = []
    var picture: String?
    let count = gpus.numbers.count * policies.count * workload.seeds.numbers.count
    for number in gpus.numbers {
      for policy in policies {
        var seeds: [ReplayFigures] = []
        for seed in workload.seeds.numbers {
          func settings(gpus: Int) -> ReplaySettings {
            pool.settings(base, policy: policy, gpus: gpus, startsAt: startsAt, seed: UInt64(seed))
          }
          let (settings, largest) = (settings(gpus: number), settings(gpus: gpus.numbers.upperBound))
          let requests = try source.requests(workload, largest, seed: UInt64(seed))
          let done = runs.count * workload.seeds.numbers.count + seeds.count
          var replay = Replay(requests, settings)
          replay.run { part in
            let percent = Int((Double(done) + part) / Double(count) * 100)
            progress.show("\(percent) %: \(Quantity.count(number, "GPU")), \(policy.rawValue)")
          }
          seeds.append(ReplayFigures(replay.log, of: requests, gpus: number))
          if plot != nil, picture == nil {
            picture = ReplayPlot("\(workload.trace): \(number) GPUs, \(policy.rawValue)", replay.log, of: requests).svg
          }
        }
        runs.append(SimulatedRun(gpus: number, policy: policy, seeds: seeds))
      }
      // More GPUs would be more than the fewest.
      if let goal, runs.contains(where: { $0.reaches(goal) }) { break }
    }
    progress.end()
    if let plot, let picture { try write(picture, to: plot) }
    let report = SimulationReport(runs: runs, goal: goal, showsModels: source.hasSeveralModels)
    if json { try Output.say(json: report.json) } else { Output.say(report.text(on: .current)) }
    if let failure = report.failure { throw failure }
  }

  private func wantedGoal() throws(CommandFailure) -> ReplayGoal? {
    guard let goal else { return nil }
    do throws(ReplayGoal.Problem) {
      return try ReplayGoal(goal)
    } catch {
      throw CommandFailure("--goal: \(error.text)", status: EX_USAGE)
    }
  }

  private func write(_ picture: String, to file: String) throws {
    do {
      try Data(picture.utf8).write(to: URL(filePath: file))
    } catch {
      throw CommandFailure("\(file) can't be written (\(String(cString: strerror(errno))))")
    }
  }
}
