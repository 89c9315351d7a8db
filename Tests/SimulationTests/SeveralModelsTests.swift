import PoolCore
import Testing

@testable import Simulation

@Suite("A workload of several models")
struct SeveralModelsTests {
  /// Ten seconds each.
  private static func request(at seconds: Double, _ model: String?) -> WorkloadRequest {
    WorkloadRequest(arrival: .zero + .seconds(rounding: seconds), inputTokens: 0, outputTokens: 600, model: model)
  }

  /// All instances are always there, and load for five seconds.
  private static func settings(gpus: Int = 1, slots: Int = 1, loadedModels: Int) -> ReplaySettings {
    var settings = ReplaySettings()
    (settings.gpus, settings.slots, settings.loadedModels) = (gpus, slots, loadedModels)
    settings.speed.slowdown = 0
    settings.loadTime = .seconds(5)
    settings.scaling = ScalingSettings(minimum: gpus)
    return settings
  }

  private struct Outcome {
    let figures: ReplayFigures
    /// Of each request, in whole seconds since the workload began.
    let starts: [Int]
    let ends: [Int]
    let awaited: [Bool]
  }

  private static func run(_ requests: [WorkloadRequest], _ settings: ReplaySettings) -> Outcome {
    let workload = Workload(requests)
    var replay = Replay(workload, settings)
    replay.run()
    func seconds(_ time: Instant?) -> Int { time.map { Int(($0 - replay.log.began).seconds.rounded()) } ?? -1 }
    return Outcome(
      figures: ReplayFigures(replay.log, of: workload, gpus: settings.gpus),
      starts: replay.log.requests.map { seconds($0.startedAt) }, ends: replay.log.requests.map { seconds($0.endedAt) },
      awaited: replay.log.requests.map(\.awaitedModel))
  }

  @Test("each that is not in memory is loaded, and one goes for it where there is no room")
  func loads() {
    let requests = [Self.request(at: 0, "a"), Self.request(at: 1, "b"), Self.request(at: 2, "a")]
    let one = Self.run(requests, Self.settings(loadedModels: 1))
    #expect(one.ends == [15, 30, 45] && one.figures.loads == 3 && one.figures.shareAwaitingModel == 1)
    let two = Self.run(requests, Self.settings(loadedModels: 2))
    #expect(two.ends == [15, 30, 40] && two.figures.loads == 2 && two.awaited == [true, true, false])
  }

  @Test("a model that is in use does not go: who wants another waits on the instance, and nobody else joins")
  func busy() {
    let requests = [Self.request(at: 0, "a"), Self.request(at: 1, "b"), Self.request(at: 8, "a")]
    let outcome = Self.run(requests, Self.settings(slots: 3, loadedModels: 1))
    // While the first loads it takes nothing else; while the second waits there, neither.
    #expect(outcome.starts == [0, 5, 20] && outcome.ends == [15, 30, 45] && outcome.figures.loads == 3)
    #expect(Self.run(requests, Self.settings(slots: 3, loadedModels: 2)).ends == [15, 20, 20])
  }

  @Test("the one that was unused for longest goes")
  func leastRecentlyUsed() {
    let models = ["a", "b", "a", "c", "a", "b"]
    let requests = models.enumerated().map { Self.request(at: Double($0) * 60, $1) }
    let outcome = Self.run(requests, Self.settings(loadedModels: 2))
    #expect(outcome.awaited == [true, true, false, true, false, true] && outcome.figures.loads == 4)
  }

  @Test("requests go where their model is, as the dispatcher has learnt")
  func places() {
    let requests = (0..<20).map { Self.request(at: Double($0) * 30, $0.isMultiple(of: 2) ? "a" : "b") }
    let outcome = Self.run(requests, Self.settings(gpus: 2, loadedModels: 1))
    #expect(outcome.figures.loads == 2 && outcome.awaited.count { $0 } == 2)
  }

  @Test("a single model is there once an instance is ready, whatever its name; what names none waits for none")
  func single() {
    let named = (0..<20).map { Self.request(at: Double($0) * 3, "a") }
    let nameless = (0..<20).map { Self.request(at: Double($0) * 3, nil) }
    for preload in [[], ["A"]] {
      var settings = Self.settings(gpus: 2, loadedModels: 1)
      settings.dispatchLimits.preload = preload
      let outcome = Self.run(named, settings)
      #expect(outcome.figures == Self.run(nameless, settings).figures && outcome.figures.loads == 0)
      #expect(outcome.figures.unserved == 0)
    }
    let mixed = [Self.request(at: 0, "a"), Self.request(at: 60, nil), Self.request(at: 120, "b")]
    #expect(Self.run(mixed, Self.settings(loadedModels: 1)).awaited == [true, false, true])
  }

  @Test("what is under preload is there when the instance is, and is loaded again when it had to go")
  func preload() {
    var settings = Self.settings(loadedModels: 1)
    settings.dispatchLimits.preload = ["A"]
    let requests = [Self.request(at: 0, "a"), Self.request(at: 60, "b"), Self.request(at: 200, "a")]
    let outcome = Self.run(requests, settings)
    // That of the other model, and the one after it.
    #expect(outcome.awaited == [false, true, false] && outcome.figures.loads == 2)
    settings.loadedModels = 2
    // It goes last, though it was unused for longer.
    let three = requests.prefix(2) + [Self.request(at: 120, "c"), Self.request(at: 200, "a")]
    let kept = Self.run(Array(three), settings)
    #expect(kept.awaited == [false, true, true, false] && kept.figures.loads == 2)
  }

  @Test("all are served whatever comes, and the same each time", arguments: [1, 2, 3] as [UInt64])
  func random(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let requests = (0..<600).map { _ in
      Self.request(
        at: Double.random(in: 0..<3_600, using: &random),
        ["a", "b", "c", "d", nil].randomElement(using: &random) ?? nil
      )
    }
    var settings = Self.settings(gpus: 4, slots: 2, loadedModels: 2)
    settings.scaling = ScalingSettings(minimum: 1)
    settings.dispatchLimits.preload = ["d"]
    let (first, again) = (Self.run(requests, settings), Self.run(requests, settings))
    #expect(first.figures == again.figures && first.ends == again.ends)
    #expect(first.figures.unserved == 0 && first.figures.cut == 0)
    #expect(first.figures.loads > 0 && (0.001...0.9).contains(first.figures.shareAwaitingModel))
    // Each with its model at least once on each instance that is ever there: more memory, fewer loads.
    settings.loadedModels = 4
    #expect(Self.run(requests, settings).figures.loads < first.figures.loads)
  }
}
