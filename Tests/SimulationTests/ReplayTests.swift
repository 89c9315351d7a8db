import PoolCore
import Testing

@testable import Simulation

@Suite("A workload that is replayed")
struct ReplayTests {
  private static func request(at seconds: Double, input: Int = 0, output: Int = 600) -> WorkloadRequest {
    WorkloadRequest(arrival: .zero + .seconds(rounding: seconds), inputTokens: input, outputTokens: output)
  }

  /// Random arrivals over an hour.
  private static func hour(_ count: Int, seed: UInt64 = 1) -> Workload {
    var random = SeededGenerator(seed: seed)
    return Workload(
      (0..<count).map { _ in
        request(
          at: Double.random(in: 0..<3_600, using: &random), input: Int.random(in: 0...2_000, using: &random),
          output: Int.random(in: 1...1_200, using: &random))
      })
  }

  private static func settings(gpus: Int, slots: Int = 1, alwaysOn: Bool = false) -> ReplaySettings {
    var settings = ReplaySettings()
    (settings.gpus, settings.slots) = (gpus, slots)
    settings.scaling = ScalingSettings(minimum: alwaysOn ? gpus : 1)
    return settings
  }

  private static func run(_ workload: Workload, _ settings: ReplaySettings) -> (ReplayFigures, ReplayLog) {
    var replay = Replay(workload, settings)
    replay.run()
    return (ReplayFigures(replay.log, of: workload, gpus: settings.gpus), replay.log)
  }

  @Test("on one slot each waits for those before it")
  func oneSlot() {
    // 10 s each, the second and third with a question of 1 s more.
    let workload = Workload([
      Self.request(at: 0), Self.request(at: 1, input: 2_400), Self.request(at: 2, input: 2_400),
    ])
    let (figures, log) = Self.run(workload, Self.settings(gpus: 1))
    let waits = zip(workload.requests, log.requests).map {
      (($1.startedAt ?? .zero) - log.began - ($0.arrival - .zero))
    }
    #expect(waits.map { ($0.seconds * 1_000).rounded() } == [0, 9_000, 19_000])
    #expect(figures.unserved == 0 && figures.cut == 0 && figures.waitP50 == 9 && figures.gpuShare == 1)
    #expect(log.requests.map { $0.foreseen?.position } == [nil, 2, 3])
  }

  @Test("requests on one instance slow one another down")
  func slowdown() {
    let workload = Workload([Self.request(at: 0), Self.request(at: 0), Self.request(at: 0, output: 300)])
    let (_, log) = Self.run(workload, Self.settings(gpus: 1, slots: 3))
    // Three at 1/1.5 until the short one has its 5 s of work, then two at 1/1.25 for the other 5 s.
    let ends = log.requests.map { ((($0.endedAt ?? .zero) - log.began).seconds * 1_000).rounded() }
    #expect(ends == [13_750, 13_750, 7_500])
  }

  @Test("a second instance comes when it is needed, and goes when it is not")
  func scaling() {
    let workload = Workload((0..<20).map { Self.request(at: Double($0)) } + [Self.request(at: 1_200)])
    let (figures, log) = Self.run(workload, Self.settings(gpus: 2))
    // The first is there before the first request; the last request has a second one come again.
    #expect(log.orders.map(\.isStart) == [true, true, false, true])
    #expect(figures.starts == 2 && figures.unserved == 0 && figures.flaps == 0)
    #expect((0.55...0.75).contains(figures.gpuShare))
    let (always, _) = Self.run(workload, Self.settings(gpus: 2, alwaysOn: true))
    #expect(always.gpuShare == 1 && always.starts == 0 && always.waitP95 < figures.waitP95)
  }

  @Test("from nothing the first request waits for a cold start")
  func fromNothing() {
    var settings = Self.settings(gpus: 1)
    settings.scaling.minimum = 0
    settings.scaling.zeroHold = .seconds(300)
    settings.coldStart = .seconds(12)...(.seconds(12))
    let (figures, log) = Self.run(Workload([Self.request(at: 0), Self.request(at: 500)]), settings)
    #expect(figures.unserved == 0 && figures.starts == 2)
    for wait in [log.requests[0], log.requests[1]].map({ ($0.foreseen?.wait ?? .zero).seconds }) {
      #expect((11...21).contains(wait))
    }
    #expect((11.9...12.3).contains(figures.waitP50))
  }

  @Test("what a pool loads beforehand is in the cold start")
  func preload() {
    var settings = Self.settings(gpus: 1)
    let without = Self.run(Workload([Self.request(at: 0)]), settings).0
    settings.dispatchLimits.preload = ["llama3.2"]
    let figures = Self.run(Workload([Self.request(at: 0)]), settings).0
    #expect(figures == without && figures.unserved == 0 && figures.waitP50 == 0)
  }

  @Test("targets are logged, each when it comes to hold")
  func targets() {
    let workload = Workload((0..<20).map { Self.request(at: Double($0)) } + [Self.request(at: 1_200)])
    let (_, log) = Self.run(workload, Self.settings(gpus: 2))
    #expect(log.targets.map(\.count) == [1, 2, 1, 2])
    let rises = log.targets.enumerated().filter { $0.offset == 0 || $0.element.count == 2 }
    #expect(rises.map(\.element.at) == log.orders.filter(\.isStart).map(\.at))
  }

  @Test("a schedule holds by the time at which the workload begins")
  func schedule() {
    var settings = Self.settings(gpus: 3, slots: 4)
    var morning = ScheduledBounds()
    (morning.days, morning.from, morning.to, morning.minimum) = ([2], 8 * 60, 9 * 60, 3)
    settings.scaling.schedule = [morning]
    settings.startsAt = WeekTime(day: 2, minute: 7 * 60 + 30)
    let workload = Workload([Self.request(at: 0), Self.request(at: 4 * 3_600)])
    let (_, log) = Self.run(workload, settings)
    let starts = log.orders.filter { $0.isStart && $0.at > log.began }.map { ($0.at - log.began).seconds }
    #expect(starts.count == 2 && starts.allSatisfy { (1_800...1_801).contains($0) })
    let stops = log.orders.filter { !$0.isStart }.map { ($0.at - log.began).seconds }
    #expect(stops.count == 2 && stops.allSatisfy { (5_400...5_420).contains($0) })
    settings.startsAt = WeekTime(day: 3, minute: 7 * 60 + 30)
    #expect(Self.run(workload, settings).1.orders.count == 1)
  }

  @Test("the same seed gives the same history; an hour is served whole, whatever the policy")
  func same() {
    let workload = Self.hour(600)
    for preset in ScalingSettings.Preset.allCases {
      var settings = Self.settings(gpus: 3, slots: 2)
      settings.scaling = ScalingSettings(preset)
      settings.coldStart = .seconds(10)...(.seconds(30))
      let (figures, log) = Self.run(workload, settings)
      #expect(figures == Self.run(workload, settings).0)
      #expect(figures.unserved == 0 && figures.cut == 0 && figures.requests == 600)
      #expect(log.requests.allSatisfy { $0.outcome == .served })
      settings.seed = 2
      // Cold starts are of other lengths.
      if preset == .economy { #expect(figures != Self.run(workload, settings).0) }
    }
  }

  @Test("where no instance may run nobody is served, and the run ends")
  func nobody() {
    var settings = Self.settings(gpus: 1)
    settings.scaling = ScalingSettings(minimum: 0, maximum: 0)
    let (figures, _) = Self.run(Workload([Self.request(at: 0)]), settings)
    #expect(figures.unserved == 1 && figures.gpuHours == 0)
    #expect(Self.run(Workload([]), settings).0.requests == 0)
  }

  @Test("another policy's word is followed, and cuts nobody")
  func policy() {
    struct Alternating: ScalingPolicy {
      var period: Duration { .seconds(40) }
      var count = 0
      mutating func target(_ view: ScalingView, at now: Instant) -> Int {
        count += 1
        return count.isMultiple(of: 2) ? 3 : 1
      }
    }
    var replay = Replay(Self.hour(400), Self.settings(gpus: 3, slots: 2), policy: Alternating())
    replay.run()
    let figures = ReplayFigures(replay.log, of: Self.hour(400), gpus: 3)
    #expect(figures.unserved == 0 && figures.cut == 0)
    #expect(figures.flapsPerHour > 20)
  }

  @Test("figures are by nearest rank, and errors of estimates what they are called")
  func figures() {
    #expect(ReplayFigures.rank(0.95, Array(stride(from: 1.0, through: 20, by: 1))) == 19)
    #expect(
      ReplayFigures.rank(0.5, [1, 2]) == 1 && ReplayFigures.rank(0.99, [7]) == 7 && ReplayFigures.rank(0.5, []) == 0)
    var errors = EstimateErrors()
    for actual in [8.0, 10, 14] { errors.add(foreseen: 10, foreseen90: 10, actual: actual) }
    #expect(errors.count == 3 && abs(errors.wape - 6 / 32.0) < 1e-9 && abs(errors.bias + 2 / 32.0) < 1e-9)
    #expect(abs(errors.coverage - 2 / 3.0) < 1e-9)
  }

  @Test("twice as fast is the same in half the time")
  func faster() {
    let workload = Workload([Self.request(at: 5), Self.request(at: 1), Self.request(at: 3)]).faster(by: 2)
    #expect(workload.requests.map(\.arrival.nanoseconds) == [1_000_000_000, 2_000_000_000, 3_000_000_000])
    #expect(workload.span == .seconds(2))
  }

  @Test(
    "goals are read",
    arguments: [
      ("p95 < 5s", ReplayGoal.Figure.p95, 5), ("p99<250ms", .p99, 0.25), (" mean < 2m ", .mean, 120),
      ("over-1s < 2%", .overSecond, 0.02), ("p50 < 1.5h", .p50, 5_400),
    ])
  func goals(text: String, figure: ReplayGoal.Figure, bound: Double) throws {
    let goal = try ReplayGoal(text)
    #expect(goal.figure == figure && abs(goal.bound - bound) < 1e-9)
  }

  @Test(
    "and refused", arguments: ["", "p95", "p95 > 5s", "p94 < 5s", "p95 < 5", "p95 < -5s", "over-1s < 2s", "p95 < 0s"])
  func wrongGoals(text: String) { #expect(throws: ReplayGoal.Problem.self) { try ReplayGoal(text) } }

  @Test("the picture is whole, and shows a name as text")
  func plot() {
    let workload = Self.hour(50)
    let (_, log) = Self.run(workload, Self.settings(gpus: 2))
    let held = ReplayPlot.held(log, span: (log.ended - log.began).seconds)
    let figures = ReplayFigures(log, of: workload, gpus: 2)
    #expect(
      abs(held.reduce(0, +) / Double(held.count) - figures.gpuShare * 2) < 1e-6 && held.allSatisfy { $0 <= 2.000001 })
    let svg = ReplayPlot("a <b> & c", log, of: workload).svg
    #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n") && svg.contains("a &lt;b&gt; &amp; c"))
    #expect(svg.split(separator: "<path").count == 5 && !svg.contains("nan") && !svg.contains("inf"))
  }
}
