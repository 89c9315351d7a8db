import OrderedCollections
import PoolCore
import Testing

/// Which instance gets a request, by what it holds in memory.
@Suite struct ModelAwareTests {
  @Test func amongEqualsTheOneThatHoldsTheModelServes() {
    var pool = PoolUnderTest(instances: 3)
    pool.list(2, [.of("a")])
    pool.arrive(1, "a")
    pool.arrive(2, "b")
    #expect(pool.places == ["gpu2", "gpu0"])
  }

  @Test func theSameOptionsCountMoreThanTheModelAlone() {
    var pool = PoolUnderTest(instances: 3)
    pool.hold("a", on: 1, context: 8192)
    pool.hold("a", on: 2, context: 4096)
    pool.arrive(1, "a", context: 4096)
    #expect(pool.places.suffix(1) == ["gpu2"])
    pool.arrive(2, "a", context: 4096)
    #expect(pool.places.suffix(1) == ["gpu1"])
  }

  @Test func affinityGivesWayToALeaseMoreThanOne() {
    var pool = PoolUnderTest(instances: 2, slots: 4)
    pool.list(1, [.of("a")])
    for number: UInt64 in 1...4 { pool.arrive(number, "a") }
    // gpu1 has one more at most while gpu0 could serve.
    #expect(pool.places == ["gpu1", "gpu1", "gpu0", "gpu1"])
  }

  @Test func aLoadUnderWayIsSparedOthers() {
    var pool = PoolUnderTest(instances: 2, slots: 2)
    pool.arrive(1, "a")
    pool.arrive(2, "b")
    #expect(pool.places == ["gpu0", "gpu1"])
    pool.begin(2)
    // Another one for a: gpu1 loads nothing.
    pool.arrive(3, "a")
    #expect(pool.places == ["gpu0", "gpu1", "gpu1"])
  }

  @Test func aModelThatHasBeenListedForAMinuteIsNotWaitedForUntilItsAnswerBegins() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.arrive(1, "a", streams: false)
    pool.arrive(2, "b")
    pool.list(0, [.of("a")])
    #expect(pool.places == ["gpu0"], "it may be a load")
    pool.advance(.seconds(61))
    pool.list(0, [.of("a")])
    #expect(pool.places == ["gpu0", "gpu0"])
  }

  @Test func whatWantsNoSlotWantsOneInstanceHoweverMuchThereIs() {
    var pool = PoolUnderTest(instances: 0)
    for number: UInt64 in 1...20 { pool.arrive(number, need: number > 10 ? .networkReference : .reference) }
    #expect(pool.dispatch.depth == 20 && pool.dispatch.observation(at: pool.now).demand == 1)
    for number: UInt64 in 21...23 { pool.arrive(number, "a") }
    #expect(pool.dispatch.observation(at: pool.now).demand == 3)
  }

  @Test func modelsThatNothingServesPressMost() {
    var pool = PoolUnderTest(instances: 2, models: [["a"], ["b"]])
    pool.servedModels = ["a", "b", "c"]
    pool.set(session: 1)
    for number: UInt64 in 1...3 { pool.arrive(number, "a") }
    for number: UInt64 in 4...5 { pool.arrive(number, "b") }
    pool.arrive(6, "c")
    #expect(pool.dispatch.mostPressingModels(2) == ["c", "a"])
    #expect(pool.dispatch.mostPressingModels(9) == ["c", "a", "b"])
  }

  @Test func surplusServesOnlyWhenTheCoreIsFullWhateverItHolds() {
    var pool = PoolUnderTest(instances: 2, roles: [.core, .surplus])
    pool.list(1, [.of("a")])
    pool.arrive(1, "a")
    pool.arrive(2, "a")
    #expect(pool.places == ["gpu0", "gpu1"])
  }

  @Test func aNewModelGoesWhereTheFewestAre() {
    var pool = PoolUnderTest(instances: 3)
    pool.list(0, [.of("a"), .of("b")])
    pool.list(1, [.of("a")])
    pool.list(2, [.of("a")])
    pool.arrive(1, "c")
    #expect(pool.places == ["gpu1"])
  }

  @Test func optionsThatAlternateGetAnInstanceEach() {
    var pool = PoolUnderTest(instances: 2)
    for number in 0..<2 { pool.list(number, []) }
    for number: UInt64 in 1...6 {
      pool.serve(number, "a", context: number.isMultiple(of: 2) ? 8192 : 4096)
    }
    #expect(pool.places == ["gpu0", "gpu1", "gpu0", "gpu1", "gpu0", "gpu1"])
    #expect(pool.reloads.isEmpty)
    // Where there is no room for a third, it costs a reload, and not another model's stay.
    pool.list(1, [.of("b")])
    pool.serve(7, "a", context: 2048)
    #expect(pool.places.last == "gpu0" && pool.reloads.count == 1)
  }

  // MARK: Loads

  @Test func oneModelsLoadLetsNoOtherModelIn() {
    var pool = PoolUnderTest(instances: 1, slots: 3)
    pool.arrive(1, "a")
    pool.arrive(2, "b")
    pool.arrive(3, "a", context: 8192)
    pool.arrive(4, nil)
    #expect(pool.started == [1])
    // What waits for the same load may join it.
    pool.arrive(5, "a")
    #expect(pool.started == [1, 5])
    pool.begin(1)
    #expect(pool.started == [1, 5, 2])
    pool.begin(2)
    // The slots are taken. Then come those that waited, in their order.
    pool.end(1)
    pool.begin(3)
    pool.end(5)
    #expect(pool.started == [1, 5, 2, 3, 4])
  }

  @Test func aLoadKeepsOutWhatIsThereAlreadySinceOllamaLooksAtNothingElseMeanwhile() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.list(0, [.of("a")])
    pool.arrive(1, "b")
    pool.arrive(2, "a")
    #expect(pool.started == [1])
    pool.begin(1)
    #expect(pool.started == [1, 2])
  }

  @Test func otherInstancesTakeWhatALoadKeepsOut() {
    var pool = PoolUnderTest(instances: 2, slots: 2)
    pool.arrive(1, "a")
    pool.arrive(2, "b")
    pool.arrive(3, "c")
    #expect(pool.places == ["gpu0", "gpu1"])
    pool.begin(2)
    #expect(pool.places == ["gpu0", "gpu1", "gpu1"])
  }

  @Test func theModelThatIsThereNeedsNoLoad() {
    var pool = PoolUnderTest(instances: 1, slots: 3)
    pool.list(0, [.of("a"), .of("b")])
    pool.arrive(1, "a")
    pool.arrive(2, "b")
    pool.arrive(3, "c")
    #expect(pool.started == [1, 2, 3])
    pool.arrive(4, "a")
    #expect(pool.started == [1, 2, 3])
  }

  @Test func aLoadEndsWithARefusalToo() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.arrive(1, "nonsense")
    pool.arrive(2, "b")
    #expect(pool.started == [1])
    pool.begin(1, status: 404)
    #expect(pool.started == [1, 2])
    #expect(pool.dispatch.instances["gpu0"]?.held["nonsense"] == nil)
  }

  @Test func aListIsNoProofThatALoadIsOver() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.list(0, [])
    pool.arrive(1, "a")
    pool.arrive(2, "b")
    pool.advance(.seconds(10))
    pool.list(0, [.of("a")])
    #expect(pool.dispatch.instances["gpu0"]?.loaded == [.of("a")])
    #expect(pool.started == [1])
    pool.begin(1)
    #expect(pool.started == [1, 2])
  }

  @Test func whatWasEvictedIsALoadAgain() {
    var pool = PoolUnderTest(instances: 1, slots: 3)
    pool.list(0, [.of("a")])
    pool.arrive(1, "b")
    pool.begin(1)
    pool.arrive(2, "a")
    pool.list(0, [.of("b")])
    pool.arrive(3, "b")
    #expect(pool.started == [1, 2])
  }

  // MARK: Lists

  @Test func anInstanceIsAskedWhenItIsReadyAfterALoadAndEveryTenSeconds() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    #expect(pool.asked == ["gpu0"])
    pool.list(0, [])
    pool.advance(.seconds(9))
    #expect(pool.asked.isEmpty)
    pool.arrive(1, "a")
    pool.begin(1)
    #expect(pool.asked == ["gpu0"])
    pool.list(0, [.of("a")])
    pool.arrive(2, "a")
    pool.begin(2)
    #expect(pool.asked.isEmpty, "it is known to hold it")
    pool.advance(.seconds(10))
    #expect(pool.asked == ["gpu0"])
  }

  @Test func oneQuestionIsOutstandingAtATime() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.list(0, [])
    pool.advance(.seconds(10))
    pool.advance(.seconds(1))
    pool.serve(1, "a")
    pool.advance(.seconds(20))
    #expect(pool.asked == ["gpu0"])
    // It was asked before a was there: that it doesn't list a means nothing, and it is asked again.
    pool.list(0, [])
    #expect(pool.dispatch.instances["gpu0"]?.held["a"] != nil)
    #expect(pool.asked == ["gpu0"])
    pool.list(0, [])
    #expect(pool.dispatch.instances["gpu0"]?.held["a"] == nil)
    #expect(pool.asked.isEmpty)
  }

  @Test func aListIsWorthSomethingForAMinute() {
    var pool = PoolUnderTest(instances: 1)
    pool.list(0, [.of("a")])
    let revision = pool.dispatch.revision
    for second in 1...59 {
      pool.advance(.seconds(1))
      if pool.asked == ["gpu0"] { pool.list(0, nil) }
      #expect(pool.dispatch.observation(at: pool.now).instances[0].loaded == [.of("a")], "\(second) s")
    }
    #expect(pool.dispatch.revision == revision)
    pool.advance(.seconds(1))
    #expect(pool.dispatch.observation(at: pool.now).instances[0].loaded == nil)
    #expect(pool.dispatch.revision > revision)
    #expect(pool.isHealthy("gpu0"))
  }

  @Test func onlyAChangeIsNews() {
    var pool = PoolUnderTest(instances: 1)
    pool.list(0, [.of("a"), .of("b")])
    let revision = pool.dispatch.revision
    pool.advance(.seconds(10))
    pool.list(0, [.of("b"), .of("a")])
    #expect(pool.dispatch.revision == revision)
    pool.advance(.seconds(10))
    pool.list(0, [.of("b")])
    #expect(pool.dispatch.revision > revision)
  }

  @Test func aStaleAnswerIsNone() {
    var pool = PoolUnderTest(instances: 1)
    pool.perform(pool.dispatch.loadedListed("gpu0", "stale", [.of("a")], at: pool.now))
    #expect(pool.dispatch.instances["gpu0"]?.loaded == nil)
    pool.list(0, [])
    pool.list(0, [.of("a")])
    #expect(pool.dispatch.instances["gpu0"]?.loaded == [])
  }

  // MARK: Reloads

  @Test func otherOptionsForAModelThatIsThereAreAReload() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.serve(1, "a")
    pool.serve(2, "a", context: 8192)
    pool.serve(3, "a", context: 8192)
    pool.serve(4, "a")
    #expect(pool.reloads == ["2: the defaults → num_ctx 8192", "4: num_ctx 8192 → the defaults"])
  }

  @Test func theDefaultNamedIsNoReload() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.list(0, [])
    pool.serve(1, "a")
    pool.list(0, [.of("a", context: 4096)])
    pool.serve(2, "a", context: 4096)
    pool.serve(3, "a")
    #expect(pool.reloads.isEmpty)
    pool.serve(4, "a", context: 2048)
    #expect(pool.reloads.count == 1)
  }

  @Test func moreThanTheModelHasComesToTheSame() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.list(0, [])
    pool.serve(1, "a", context: 1_000_000)
    pool.list(0, [.of("a", context: 131_072)])
    pool.serve(2, "a", context: 131_072)
    pool.serve(3, "a", context: 500_000)
    #expect(pool.reloads.isEmpty)
    pool.serve(4, "a", context: 65_536)
    #expect(pool.reloads.count == 1)
  }

  @Test func whatAnEarlierDispatcherLoadedIsNoReloadUnlessItsContextDiffers() {
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.list(0, [.of("a", context: 8192), .of("b", context: 8192)])
    pool.serve(1, "a")
    pool.serve(2, "b", context: 4096)
    #expect(pool.reloads == ["2: num_ctx 8192 → num_ctx 4096"])
  }

  @Test func whoLeavesTheLayersToOllamaTakesThemAsTheyAre() {
    var twenty = RunnerOptions()
    twenty.gpuLayers = 20
    var pool = PoolUnderTest(instances: 1, slots: 2)
    pool.serve(1, "a", options: twenty)
    pool.serve(2, "a")
    #expect(pool.reloads.isEmpty)
    var ten = RunnerOptions()
    ten.gpuLayers = 10
    pool.serve(3, "a", options: ten)
    #expect(pool.reloads == ["3: num_gpu 20 → num_gpu 10"])
  }

  @Test func whatWasRefusedReloadsNothing() {
    var pool = PoolUnderTest(instances: 1)
    pool.serve(1, "a")
    pool.arrive(2, "a", context: 8192)
    pool.begin(2, status: 400)
    pool.end(2)
    pool.serve(3, "a")
    #expect(pool.reloads.isEmpty)
  }
}

extension LoadedModel {
  static func of(_ name: String, size: Int = 100, onGPU: Int = 100, context: Int? = 4096) -> LoadedModel {
    LoadedModel(name: name, size: size, sizeOnGPU: onGPU, contextLength: context)
  }
}

extension PoolUnderTest {
  /// A request that is answered at once.
  mutating func serve(_ number: UInt64, _ model: String, context: Int? = nil) {
    serve(number, model, options: RunnerOptions(contextLength: context))
  }

  mutating func serve(_ number: UInt64, _ model: String, options: RunnerOptions) {
    let request = DispatchRequest(id: RequestID(number), model: model, options: options)
    perform(dispatch.arrive(request, at: now))
    begin(number)
    end(number)
  }

  /// Lets an instance answer a request, so that it is known with which options it holds the model.
  mutating func hold(_ model: String, on instance: Int, context: Int? = nil) {
    let id = RequestID(UInt64(1_000 + instance))
    let others = dispatch.instances.values.map(\.wanted)
    let only = others.map { wanted in
      var wanted = wanted
      if wanted.id.name != "gpu\(instance)" { wanted.role = .draining }
      return wanted
    }
    perform(dispatch.setInstances(WantedSet(only), session: 1, at: now))
    perform(
      dispatch.arrive(
        DispatchRequest(id: id, model: model, options: RunnerOptions(contextLength: context)), at: now))
    begin(id.number)
    end(id.number)
    perform(dispatch.setInstances(WantedSet(others), session: 1, at: now))
  }

  /// By which request, from what to what.
  var reloads: [String] {
    reports.compactMap {
      guard case .modelReloaded(let id, _, _, let before, let after) = $0 else { return nil }
      return "\(id): \(before) → \(after)"
    }
  }
}
