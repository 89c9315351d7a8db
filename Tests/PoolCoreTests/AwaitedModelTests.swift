import OrderedCollections
import PoolCore
import Testing

/// Placements that are reserved for models: the target alone does not say which to start.
@Suite struct AwaitedModelTests {
  private static func fleet(minimum: Int, _ models: [String]...) -> FleetUnderTest {
    var fleet = FleetUnderTest(gpus: 0, minimum: minimum)
    fleet.fleet.scaler.settings = ScalingSettings(minimum: minimum, z: 0, smoothing: .zero)
    fleet.configure(
      models.enumerated().map { number, models in
        var placement = fleet.placement(InstanceID("gpu\(number)"), on: "GPU-\(number)")
        placement.models = models
        return placement
      })
    fleet.connect()
    return fleet
  }

  @Test func whatNothingServesIsStartedFirstAndBeyondTheTarget() {
    var fleet = Self.fleet(minimum: 1, ["a"], ["b"], ["c"])
    #expect(fleet.starts == ["gpu0"])
    fleet.runs("gpu0")
    fleet.observe(waiting: ["c": 1], ready: ["gpu0"])
    #expect(fleet.starts == ["gpu0", "gpu2"] && fleet.fleet.decision.target == 1)
    // One is on its way.
    fleet.observe(waiting: ["c": 5], ready: ["gpu0"])
    #expect(!fleet.starts.dropFirst(2).contains("gpu2"))
  }

  @Test func whatIsServedAlreadyWaitsForIt() {
    var fleet = Self.fleet(minimum: 1, ["a"], ["b"], [])
    fleet.runs("gpu0")
    fleet.observe(waiting: ["a": 1], ready: ["gpu0"])
    #expect(fleet.starts == ["gpu0"])
    // For any other the one that serves all is as good.
    fleet.observe(waiting: ["z": 1], ready: ["gpu0"])
    #expect(fleet.starts == ["gpu0", "gpu2"])
  }

  @Test func modelsThatChangeWhileAnInstanceStartsAreItsOwn() {
    var fleet = Self.fleet(minimum: 1, ["a"])
    fleet.startBegins("gpu0")
    var placement = fleet.placement("gpu0", on: "GPU-0")
    placement.models = ["b"]
    fleet.configure([placement])
    fleet.runs("gpu0")
    #expect(fleet.told.map(\.models) == [["b"]])
  }

  @Test func nothingIsStartedForAReplacementThatCanNotCome() {
    var fleet = Self.fleet(minimum: 1, ["a"], ["b"])
    fleet.runs("gpu0")
    fleet.observe(references: [], ready: ["gpu0"])
    // Nothing could be started on its GPU, and the other one serves something else.
    fleet.read(.busy(0, with: 20), .of(1))
    var placement = fleet.fleet.placements["gpu0"]!.placement
    placement.specification = "new"
    fleet.configure([placement, fleet.fleet.placements["gpu1"]!.placement])
    for _ in 0..<30 {
      fleet.now = fleet.now + .seconds(2)
      fleet.read(.busy(0, with: 20), .of(1))
      fleet.observe(references: [], ready: ["gpu0"])
    }
    #expect(fleet.starts == ["gpu0"] && fleet.draining == [])
  }

  @Test func aReplacementForOtherModelsLetsNoPullBeAGap() {
    var fleet = Self.fleet(minimum: 2, ["a"], ["b"])
    for gpu in ["gpu0", "gpu1"] { fleet.runs(gpu) }
    fleet.observe(references: ["gpu0"], ready: ["gpu1"])
    // More than are needed run, but no other one for its model.
    fleet.perform(fleet.fleet.setScale(minimum: 0, maximum: 1, until: nil, at: fleet.now))
    var placement = fleet.fleet.placements["gpu0"]!.placement
    placement.specification = "new"
    fleet.configure([placement, fleet.fleet.placements["gpu1"]!.placement])
    for _ in 0..<30 {
      fleet.advance(.seconds(10))
      fleet.observe(references: ["gpu0"], ready: ["gpu1"])
    }
    #expect(fleet.draining == [] && fleet.starts == ["gpu0", "gpu1"])
    fleet.observe(references: [], ready: ["gpu0", "gpu1"])
    #expect(fleet.draining == ["gpu0"])
  }

  @Test func whatAnOperatorAllowsAtMostHolds() {
    var fleet = Self.fleet(minimum: 0, ["a"], ["b"])
    fleet.perform(fleet.fleet.setScale(minimum: 0, maximum: 0, until: fleet.now + .seconds(60), at: fleet.now))
    fleet.observe(waiting: ["b": 1])
    #expect(fleet.starts == [])
    fleet.perform(fleet.fleet.setScale(minimum: 0, maximum: 1, until: fleet.now + .seconds(60), at: fleet.now))
    #expect(fleet.starts == ["gpu1"])
    fleet.runs("gpu1")
    fleet.observe(waiting: ["a": 1], ready: ["gpu1"])
    #expect(fleet.starts == ["gpu1"])
    fleet.advance(.seconds(60))
    #expect(fleet.starts == ["gpu1", "gpu0"])
  }
}
