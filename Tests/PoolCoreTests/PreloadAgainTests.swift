import OrderedCollections
import PoolCore
import Testing

/// Models under `preload` that are no longer there, as timelines.
@Suite struct PreloadAgainTests {
  private static func pool(
    _ preload: [String] = ["a"], slots: Int = 2, models: [[String]] = [], haveGPUs: Bool = true
  ) -> PoolUnderTest {
    var limits = DispatchLimits()
    limits.preload = preload
    var pool = PoolUnderTest(instances: 1, slots: slots, models: models, haveGPUs: haveGPUs, limits: limits)
    for model in preload where pool.loads.contains(model) { pool.loaded(model) }
    return pool
  }

  private static let isEvicted = DispatchReport.preloadEvicted("gpu0", model: "a")

  @Test func whatWasEvictedIsLoadedAgainWhileTheInstanceStaysInUse() {
    var pool = Self.pool()
    pool.list(0, [.of("a")])
    #expect(pool.loads == ["a"])
    pool.advance(.seconds(10))
    pool.list(0, [])
    #expect(pool.reports.count { $0 == Self.isEvicted } == 1)
    #expect(pool.loads == ["a", "a"])
    #expect(pool.isHealthy("gpu0") && pool.dispatch.maxConcurrent == 2)
    // It counts as loading.
    pool.arrive(1, "b")
    pool.arrive(2, "a")
    #expect(pool.started == [2])
    pool.begin(2)
    pool.loaded("a")
    #expect(pool.started == [2, 1])
  }

  @Test func whatItIsLoadedWithDecidesWhoMayJoin() {
    var limits = DispatchLimits()
    limits.preload = ["a"]
    limits.preloadOptions = ["a": RunnerOptions(contextLength: 8192)]
    var pool = PoolUnderTest(instances: 1, slots: 3, limits: limits)
    pool.loaded("a")
    pool.list(0, [])
    #expect(pool.loads == ["a", "a"])
    pool.arrive(1, "a")
    pool.arrive(2, "a", context: 8192)
    #expect(pool.started == [2], "the other one would have it loaded once more")
    pool.begin(2)
    pool.loaded("a")
    pool.arrive(3, "a", context: 8192)
    #expect(pool.started == [2, 1] || pool.started == [2, 1, 3])
  }

  @Test func nothingIsLoadedAgainBesideARequest() {
    var pool = Self.pool()
    pool.list(0, [.of("a")])
    pool.arrive(1, "b")
    pool.begin(1)
    pool.list(0, [.of("b")])
    #expect(pool.reports.contains(Self.isEvicted))
    pool.advance(.seconds(5))
    #expect(pool.loads == ["a"])
    pool.end(1)
    pool.advance(.seconds(1))
    #expect(pool.loads == ["a", "a"])
  }

  @Test func thePauseDoublesWhileItIsEvictedAgainAndAgain() {
    var pool = Self.pool()
    pool.list(0, [.of("a")])
    var times: [Int] = []
    for second in 1...1500 {
      let before = pool.loads.count
      pool.advance(.seconds(1))
      if !pool.asked.isEmpty { pool.list(0, []) }
      if pool.loads.count > before {
        times.append(second)
        pool.loaded("a")
        // Just as it was seen there, somebody evicts it.
        pool.list(0, [.of("a")])
      }
    }
    // A list comes every ten seconds.
    #expect(times == [10, 20, 40, 80, 160, 320, 620, 920, 1220])
    // Once for each time, and the last one waits.
    #expect(pool.reports.count { $0 == Self.isEvicted } == times.count + 1)
  }

  @Test func thePauseBeginsAnewWithAModelThatStayed() {
    var pool = Self.pool()
    pool.list(0, [.of("a")])
    for _ in 0..<3 {
      pool.advance(.seconds(10))
      pool.list(0, [])
      pool.advance(.seconds(600))
      pool.loaded("a")
      pool.list(0, [.of("a")])
    }
    for _ in 0..<30 {
      pool.advance(.seconds(10))
      pool.list(0, [.of("a")])
    }
    let before = pool.loads.count
    pool.advance(.seconds(10))
    pool.list(0, [])
    #expect(pool.loads.count == before + 1)
    pool.loaded("a")
    pool.list(0, [.of("a")])
    pool.advance(.seconds(10))
    pool.list(0, [])
    #expect(pool.loads.count == before + 2)
  }

  @Test func aFailureIsReportedWithItsMessageAndTriedAgainLater() {
    var pool = Self.pool()
    pool.list(0, [.of("a")])
    pool.advance(.seconds(10))
    pool.list(0, [])
    pool.loaded("a", failure: "model requires more system memory (9 GiB) than is available (3 GiB)")
    #expect(
      pool.reports.last
        == .preloadFailed(
          "gpu0", model: "a", message: "model requires more system memory (9 GiB) than is available (3 GiB)"))
    #expect(pool.isHealthy("gpu0"))
    pool.advance(.seconds(9))
    #expect(pool.loads == ["a", "a"])
    pool.advance(.seconds(1))
    #expect(pool.loads == ["a", "a", "a"])
    #expect(pool.reports.count { $0 == Self.isEvicted } == 1)
  }

  @Test func whatIsPartlyOnTheCPUIsReportedWithBothFiguresOnceForEachLoad() {
    var pool = Self.pool()
    let model = LoadedModel.of("a", size: 100, onGPU: 60)
    for _ in 0..<3 {
      pool.list(0, [model])
      pool.advance(.seconds(10))
    }
    #expect(pool.reports.filter { $0 == .preloadPartlyOnGPU("gpu0", model) }.count == 1)
    pool.list(0, [])
    pool.loaded("a")
    pool.list(0, [model])
    #expect(pool.reports.filter { $0 == .preloadPartlyOnGPU("gpu0", model) }.count == 2)
  }

  @Test func nobodyIsToldThatAnInstanceWithoutAGPUHasItsModelOnTheCPU() {
    var pool = Self.pool(haveGPUs: false)
    let model = LoadedModel.of("a", size: 100, onGPU: 0)
    pool.list(0, [model])
    #expect(!pool.reports.contains(.preloadPartlyOnGPU("gpu0", model)))
  }

  @Test func onlyWhatTheInstanceServesIsLoadedThere() {
    var pool = Self.pool(["a", "b"], models: [["b"]])
    #expect(pool.loads == ["b"] && pool.dispatch.maxConcurrent == 2)
    pool.advance(.seconds(10))
    pool.list(0, [.of("b")])
    pool.advance(.seconds(10))
    pool.list(0, [])
    #expect(pool.loads == ["b", "b"])
  }

  @Test func whatDrainsLoadsNothingAgain() {
    var pool = Self.pool()
    pool.list(0, [.of("a")])
    pool.set(session: 1, roles: [0: .draining])
    pool.advance(.seconds(10))
    pool.list(0, [])
    pool.advance(.seconds(10))
    #expect(pool.loads == ["a"])
  }

  @Test func aModelThatIsConfiguredLaterIsForInstancesToCome() {
    var pool = Self.pool()
    pool.list(0, [.of("a")])
    pool.dispatch.limits.preload = ["a", "c"]
    pool.advance(.seconds(10))
    pool.list(0, [.of("a")])
    #expect(pool.loads == ["a"])
    #expect(!pool.reports.contains { if case .preloadEvicted = $0 { true } else { false } })
  }

  @Test func aListThatIsOlderThanTheLoadSaysNothingOfIt() {
    var pool = Self.pool()
    pool.list(0, [.of("a")])
    pool.advance(.seconds(10))
    pool.list(0, [])
    pool.advance(.seconds(10))
    // Asked while it was being loaded.
    #expect(pool.asked == ["gpu0"])
    pool.advance(.seconds(1))
    pool.loaded("a")
    pool.list(0, [])
    #expect(pool.loads == ["a", "a"])
    #expect(pool.reports.count { $0 == Self.isEvicted } == 1)
  }
}
