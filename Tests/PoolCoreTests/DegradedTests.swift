import OrderedCollections
import PoolCore
import Testing

/// Really on the GPU.
@Suite struct DegradedTests {
  @Test func aModelOnTheCPUTakesTheInstanceOutAndTheNextOneStartsElsewhereFirst() {
    var fleet = FleetUnderTest.running(1, of: 2)
    fleet.read(.of(0), .of(1))
    fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]], leases: 1)
    #expect(fleet.roles == ["gpu0": .out] && fleet.told.first?.reason == "llama3.2:latest computes on the CPU")
    #expect(fleet.starts == ["gpu0", "gpu1"] && fleet.stops.isEmpty)
    // What it has begun may end, whatever else is said of it meanwhile.
    for _ in 0..<10 { fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]], leases: 1) }
    #expect(fleet.stops.isEmpty && fleet.reports.count { if case .draining = $0 { true } else { false } } == 1)
    fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]])
    fleet.answer("gpu0", .retired)
    #expect(fleet.kills == ["gpu0"])
    #expect(fleet.reports.contains(.stopping("gpu0", .degraded("llama3.2:latest computes on the CPU"))))
    fleet.dies("gpu0")
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == 1)
    #expect(fleet.fleet.degradations == 1, "however often it was seen")
  }

  @Test func aModelPartlyOnTheCPUIsSeenAndAHundredthIsNothing() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0))
    let nearly = LoadedModel(name: "m", size: 100_000, sizeOnGPU: 99_000)
    fleet.observe(loaded: ["gpu0": [nearly]])
    #expect(fleet.roles == ["gpu0": .core])
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 9)]])
    #expect(fleet.told.isEmpty == false && fleet.told.first?.reason == "1 GiB of llama3.2:latest are beside the GPU")
  }

  @Test func theCPUMayBeAllowedOrBeAllThereIs() {
    var fleet = FleetUnderTest.running(1) { $0.allowCPU = true }
    fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]])
    #expect(fleet.roles == ["gpu0": .core])
    var other = FleetUnderTest(gpus: 0, minimum: 1)
    other.configure([other.placement("cpu0")])
    other.runs("cpu0")
    other.connect()
    other.observe(loaded: ["cpu0": [.of(4, onGPU: 0)]])
    #expect(other.roles == ["cpu0": .core])
  }

  @Test func anEarlierLifeSaysNothingOfThePresentOne() {
    var fleet = FleetUnderTest.running(1)
    var old = QueueObservation()
    old.instances = [
      InstanceObservation(id: "gpu0", invocation: "earlier", health: .healthy, loaded: [.of(4, onGPU: 0)])
    ]
    fleet.perform(fleet.fleet.observed(old, at: fleet.now))
    #expect(fleet.roles == ["gpu0": .core])
  }

  @Test func whatWasTakenOutProvesNothingWhileItDrains() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0))
    fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]])
    for life in 1...5 {
      #expect(fleet.roles == ["gpu0": .out])
      // Its last answer takes longer than what would be a steady life.
      fleet.pass(.seconds(90), .of(0))
      fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]], leases: 1)
      fleet.dies("gpu0")
      #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == life)
      fleet.pass(.seconds(60), .of(0))
      guard fleet.starts.count > life else { break }
      fleet.runs("gpu0")
      fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]])
    }
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.isQuarantined == true)
  }

  // MARK: Models that are to blame themselves

  @Test func aModelThatIsOnTheCPUInANewProcessTooWhereOthersAreNotIsToldAndCostsNoMore() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0))
    fleet.observe(loaded: ["gpu0": [.of(4, name: "good"), .of(4, onGPU: 0)]])
    #expect(fleet.roles == ["gpu0": .out], "the GPU may have been lost to this process")
    fleet.dies("gpu0")
    fleet.pass(.seconds(2), .of(0))
    fleet.runs("gpu0")
    for _ in 0..<3 { fleet.observe(loaded: ["gpu0": [.of(4, name: "good"), .of(4, onGPU: 0)]]) }
    #expect(fleet.roles == ["gpu0": .core])
    let report = FleetReport.modelBesideGPU("gpu0", model: "llama3.2:latest", .byItself)
    #expect(fleet.reports.count { $0 == report } == 1)
    #expect(fleet.fleet.note(on: "gpu0", at: fleet.now)?.hasPrefix("llama3.2:latest stays beside the GPU") == true)
    // Another model is looked at as ever.
    fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0, name: "other")]])
    #expect(fleet.roles == ["gpu0": .out])
  }

  @Test func aModelThatWasOnTheGPUBeforeIsNotThereByItself() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0))
    for life in 1...2 {
      fleet.observe(loaded: ["gpu0": [.of(4)]])
      #expect(fleet.roles == ["gpu0": .core])
      // The GPU is lost to this process, and Ollama loads the model anew.
      fleet.observe(loaded: ["gpu0": []])
      fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]])
      #expect(fleet.roles == ["gpu0": .out], "life \(life)")
      fleet.dies("gpu0")
      fleet.now = fleet.now + .seconds(600)
      fleet.runs("gpu0")
    }
  }

  @Test func theOnlyModelMayHaveANumberOfLayersOfItsOwn() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0))
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 6)]])
    #expect(fleet.roles == ["gpu0": .out])
    fleet.dies("gpu0")
    fleet.pass(.seconds(2), .of(0))
    fleet.runs("gpu0")
    for _ in 0..<3 { fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 6)]]) }
    #expect(fleet.roles == ["gpu0": .core])
    #expect(fleet.reports.count { $0 == .modelBesideGPU("gpu0", model: "llama3.2:latest", .byItself) } == 1)
  }

  @Test func whatDidNotFitIsLookedAtAnewOnceItDoes() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.busy(0, with: 20))
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 4)]])
    #expect(fleet.roles == ["gpu0": .core])
    fleet.read(.of(0))
    fleet.observe(loaded: ["gpu0": []])
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 0)]])
    #expect(fleet.roles == ["gpu0": .out])
  }

  @Test func whatWasReadBeforeAModelWasLoadedSaysNothingOfItsRoom() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0))
    fleet.now = fleet.now + .seconds(1)
    // Others have come in this second.
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 4)]])
    #expect(fleet.roles == ["gpu0": .core])
    fleet.now = fleet.now + .seconds(1)
    fleet.read(.busy(0, with: 20))
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 4)]])
    #expect(fleet.roles == ["gpu0": .core])
    guard case .modelBesideGPU("gpu0", _, .doesNotFit) = fleet.reports.last else {
      Issue.record("\(fleet.reports)")
      return
    }
  }

  @Test func whatDidNotFitIsGivenItsRoomAndIsNoFailure() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.busy(0, with: 20))
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 4)]])
    fleet.read(.of(0))
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 4)]])
    #expect(fleet.roles == ["gpu0": .out])
    #expect(
      fleet.told.first?.reason == "6 GiB of llama3.2:latest are beside the GPU, and there is room for it by now")
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == 0 && fleet.fleet.degradations == 1)
    // With others that come and go it is not done over and over.
    fleet.now = fleet.now + .seconds(1)
    fleet.runs("gpu0")
    for _ in 1...3 {
      fleet.read(.busy(0, with: 20))
      fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 4)]])
      fleet.read(.of(0))
      fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 4)]])
    }
    #expect(fleet.roles == ["gpu0": .core] && fleet.fleet.degradations == 1)
  }

  @Test func whereNoOtherModelIsOnTheGPUTheProcessIsToBlame() {
    var fleet = FleetUnderTest.running(2)
    fleet.read(.of(0), .of(1))
    fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)], "gpu1": [.of(4, name: "good")]])
    #expect(fleet.roles == ["gpu0": .out, "gpu1": .core])
    fleet.observe(loaded: ["gpu1": [.of(4, name: "good"), .of(4, onGPU: 0)]])
    #expect(fleet.roles["gpu1"] == .out, "an old process proves nothing: it may have lost its GPU since")
    fleet.dies("gpu0")
    fleet.pass(.seconds(2), .of(0), .of(1))
    fleet.runs("gpu0")
    fleet.observe(loaded: ["gpu0": [.of(4, onGPU: 0)]])
    #expect(fleet.roles["gpu0"] == .out)
  }

  // MARK: What can't fit

  @Test func aModelThatCanNotFitIsToldOnceOfALifeAndIsNoFault() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.busy(0, with: 6, ours: [.ours("gpu0")]))
    for _ in 0..<3 { fleet.observe(loaded: ["gpu0": [.of(20, onGPU: 17), .of(1, name: "b")]]) }
    #expect(fleet.roles == ["gpu0": .core])
    let report = FleetReport.modelBesideGPU(
      "gpu0", model: "llama3.2:latest", .doesNotFit(needs: gibibytes(20), has: gibibytes(17)))
    #expect(fleet.reports.filter { $0 == report }.count == 1)
    #expect(
      fleet.fleet.note(on: "gpu0", at: fleet.now)?
        .hasPrefix("llama3.2:latest takes 20 GiB and has 17 GiB of GPU memory") == true)
    fleet.observe(loaded: ["gpu0": [.of(1, name: "b")]])
    #expect(fleet.fleet.note(on: "gpu0", at: fleet.now)?.contains("takes") == false)
    fleet.dies("gpu0")
    fleet.runs("gpu0")
    fleet.observe(loaded: ["gpu0": [.of(20, onGPU: 17)]])
    #expect(fleet.reports.count { if case .modelBesideGPU = $0 { true } else { false } } == 2)
  }

  @Test func aModelThatJustAboutFitsIsPartlyOnTheCPUByOllamasOwnChoice() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0))
    fleet.observe(loaded: ["gpu0": [.of(23, onGPU: 22)]])
    #expect(fleet.roles == ["gpu0": .core])
    // But not wholly.
    fleet.observe(loaded: ["gpu0": [.of(23, onGPU: 0, name: "b")]])
    #expect(fleet.roles == ["gpu0": .out])
  }

  @Test func withoutFiguresOfTheGPUOnlyWhatIsWhollyOnTheCPUIsAFault() {
    var fleet = FleetUnderTest.running(1)
    fleet.observe(loaded: ["gpu0": [.of(23, onGPU: 10)]])
    #expect(fleet.roles == ["gpu0": .core])
    #expect(
      fleet.reports.contains(
        .modelBesideGPU(
          "gpu0", model: "llama3.2:latest", .doesNotFit(needs: gibibytes(23), has: gibibytes(10)))))
    fleet.observe(loaded: ["gpu0": [.of(23, onGPU: 0, name: "b")]])
    #expect(fleet.roles == ["gpu0": .out])
  }

  @Test func whatIsNotListedAsAnybodysTakesRoomToo() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0, used: 22, by: [.ours("gpu0", 2)]))
    fleet.observe(loaded: ["gpu0": [.of(10, onGPU: 2)]])
    #expect(fleet.roles == ["gpu0": .core])
    #expect(
      fleet.fleet.note(on: "gpu0", at: fleet.now) == "llama3.2:latest takes 10 GiB and has 4 GiB of GPU memory")
  }

  @Test func ofASmallGPUAGoodPartIsNoModels() {
    var fleet = FleetUnderTest.running(1)
    let small = GPUReading(uuid: "GPU-0", memoryTotal: gibibytes(8), memoryUsed: 0, processes: [])
    fleet.read(small)
    fleet.observe(loaded: ["gpu0": [LoadedModel(name: "m", size: 7 << 30, sizeOnGPU: 6 << 30)]])
    #expect(fleet.roles == ["gpu0": .core])
    fleet.observe(loaded: ["gpu0": [LoadedModel(name: "n", size: 6 << 30, sizeOnGPU: 5 << 30)]])
    #expect(fleet.roles == ["gpu0": .out])
  }

  // MARK: What the driver sees

  @Test func whatTheDriverDoesNotSeeOnItsGPUIsNotThere() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0))
    fleet.observe(loaded: ["gpu0": [.of(4)]])
    fleet.pass(.seconds(76), .of(0))
    fleet.observe(loaded: ["gpu0": [.of(4)]])
    #expect(fleet.roles == ["gpu0": .core], "what is said of models may be that old")
    fleet.pass(.seconds(4), .of(0))
    #expect(fleet.roles == ["gpu0": .core], "it must be said again that they are there")
    fleet.observe(loaded: ["gpu0": [.of(4)]])
    #expect(fleet.roles == ["gpu0": .out])
  }

  @Test func whatTheDriverSeesOrCanNotTellIsBelieved() {
    let unknown = GPUReading.Process(pid: 1, memory: nil, owner: .unknown)
    let readings: [GPUReading] = [
      .of(0, used: 4, by: [.ours("gpu0", 4)]),
      // Somebody has memory whom the driver doesn't list, or can't be named.
      .of(0, used: 4, by: []), .of(0, used: 4, by: [unknown]), .of(0, used: nil, by: []), .of(0, used: 4, by: nil),
    ]
    for reading in readings {
      var fleet = FleetUnderTest.running(1)
      for _ in 0..<40 {
        fleet.observe(loaded: ["gpu0": [.of(4)]])
        fleet.pass(.seconds(4), reading)
      }
      #expect(fleet.roles == ["gpu0": .core], "\(reading)")
    }
  }

  @Test func aModelThatWasUnloadedIsNotMissed() {
    var fleet = FleetUnderTest.running(1)
    fleet.observe(loaded: ["gpu0": [.of(4)]])
    fleet.pass(.seconds(70), .of(0))
    fleet.observe(loaded: ["gpu0": []])
    fleet.pass(.seconds(70), .of(0))
    fleet.observe(loaded: ["gpu0": [.of(4)]])
    #expect(fleet.roles == ["gpu0": .core])
  }

  @Test func whatWasUnloadedWhileTheDispatcherWasAwayIsNotMissed() {
    var fleet = FleetUnderTest.running(1)
    fleet.observe(loaded: ["gpu0": [.of(4)]])
    fleet.lose()
    fleet.pass(.seconds(300), .of(0))
    fleet.connect()
    // The new one has not asked yet, and then a model is loaded again before the driver was.
    fleet.observe(loaded: ["gpu0": nil])
    fleet.observe(loaded: ["gpu0": [.of(4)]])
    #expect(fleet.roles == ["gpu0": .core])
  }

  @Test func nonsenseFromOutsideIsNoTrap() {
    var fleet = FleetUnderTest.running(1)
    let extremes = [Int.min, -1, 0, 1, .max]
    for one in extremes {
      for other in extremes {
        let process = GPUReading.Process(pid: -1, memory: one, owner: .other(command: ""))
        fleet.read(
          GPUReading(
            uuid: "GPU-0", memoryTotal: one, memoryUsed: other,
            processes: [process, process, .init(pid: 0, memory: other, owner: .instance("gpu0"))]))
        let model = LoadedModel(name: "", size: one, sizeOnGPU: other)
        fleet.observe(loaded: ["gpu0": [model, model]])
        fleet.dies("gpu0")
        fleet.advance(.seconds(700))
        fleet.runs("gpu0")
        _ = fleet.fleet.note(on: "gpu0", at: fleet.now)
      }
    }
  }
}
