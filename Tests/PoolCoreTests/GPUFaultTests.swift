import OrderedCollections
import PoolCore
import Testing

/// A GPU that fails takes its own instance with it, and nothing else.
@Suite struct GPUFaultTests {
  @Test func anInstanceOnALostGPUIsKilledAtOnceAndAnotherStartsElsewhere() {
    var fleet = FleetUnderTest.running(2, of: 3)
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
    fleet.read(.of(0, trouble: .lost), .of(1), .of(2))
    #expect(fleet.kills == ["gpu0"] && fleet.starts == ["gpu0", "gpu1", "gpu2"])
    #expect(fleet.told.map(\.id) == ["gpu1"] && fleet.retirements.isEmpty)
    #expect(fleet.reports.contains(.gpuFailed(gpu: "GPU-0", reason: GPUTrouble.lost.description, inARow: 1)))
    fleet.dies("gpu0")
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == 0, "the GPU has failed, not the placement")
    #expect(fleet.obstacle("gpu0")?.kind == .failed)
  }

  @Test func aMissingGPUIsAsALostOneAndOneThatIsOnlyUnknownHoldsNothingBack() {
    var fleet = FleetUnderTest.running(2)
    fleet.read(.of(0))
    #expect(fleet.stops.isEmpty && fleet.obstacle("gpu1") == nil)
    fleet.read(.of(0), GPUReading(uuid: "GPU-1", trouble: .missing))
    #expect(fleet.kills == ["gpu1"])
  }

  @Test func onAGPUThatNeedsAResetWhatHasBegunMayFinishForAWhile() {
    var fleet = FleetUnderTest.running(2)
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
    fleet.faults(0, "XID 48 (double-bit ECC error)", .resetNeeded)
    #expect(fleet.roles == ["gpu0": .out, "gpu1": .core] && fleet.stops.isEmpty)
    #expect(fleet.told.first?.reason == "GPU-0: XID 48 (double-bit ECC error)")
    fleet.advance(.seconds(29))
    #expect(fleet.stops.isEmpty)
    fleet.advance(.seconds(1))
    #expect(fleet.kills == ["gpu0"])
  }

  @Test func onAGPUThatNeedsAResetWhatHoldsNothingGoesAtOnceAndItStaysOutUntilUncordon() throws {
    var fleet = FleetUnderTest.running(1)
    fleet.faults(0, "XID 48", .resetNeeded)
    #expect(fleet.retirements == ["gpu0"])
    fleet.answer("gpu0", .retired)
    #expect(fleet.kills == ["gpu0"])
    fleet.dies("gpu0")
    fleet.read(.of(0))
    fleet.advance(.seconds(3600))
    #expect(fleet.starts == ["gpu0"] && fleet.held == [.quarantined])
    #expect(fleet.fleet.standing(ofGPU: "GPU-0", at: fleet.now) == .quarantined(reason: "XID 48", retryIn: nil))
    try fleet.uncordon("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu0"] && fleet.reports.contains(.gpuBack(gpu: "GPU-0")))
  }

  @Test func aFaultThatNeedsAResetOutlivesTheSupervisor() throws {
    var fleet = FleetUnderTest.running(1)
    fleet.faults(0, "XID 48", .resetNeeded)
    #expect(fleet.fleet.faultsToKeep == ["GPU-0": GPUFault("XID 48", .resetNeeded)])
    var next = FleetUnderTest(gpus: 2, minimum: 1, begins: false)
    next.fleet.restore(cordons: [:], orders: [:], faults: fleet.fleet.faultsToKeep)
    next.begin(found: ["gpu0"])
    next.connect()
    #expect(next.roles == ["gpu0": .out] && next.starts == ["gpu1"])
    try next.uncordon("GPU-0")
    #expect(next.fleet.faultsToKeep.isEmpty)
    #expect(next.roles == ["gpu0": .out], "its process is what the fault has left of it")
  }

  @Test func aTroubleThatComesAndGoesKeepsTheGPUOutForLongerEachTime() {
    var fleet = FleetUnderTest.running(0, of: 1)
    for (count, pause) in [10, 20, 40, 80, 600, 600].enumerated() {
      fleet.read(.of(0, trouble: .needsReset))
      #expect(fleet.obstacle("gpu0")?.kind == (count < 4 ? .failed : .quarantined))
      fleet.now = fleet.now + .seconds(5)
      fleet.read(.of(0))
      fleet.now = fleet.now + .seconds(pause - 1)
      fleet.read(.of(0))
      #expect(fleet.obstacle("gpu0") != nil, "trouble \(count + 1)")
      let (reason, soon) = (GPUTrouble.needsReset.description, Duration.seconds(1))
      #expect(
        fleet.fleet.standing(ofGPU: "GPU-0", at: fleet.now)
          == (count < 4 ? .failed(reason: reason, retryIn: soon) : .quarantined(reason: reason, retryIn: soon)))
      fleet.now = fleet.now + .seconds(1)
      fleet.read(.of(0))
      #expect(fleet.obstacle("gpu0") == nil, "trouble \(count + 1)")
    }
    // It has proven itself.
    fleet.now = fleet.now + .seconds(600)
    fleet.read(.of(0, trouble: .needsReset))
    #expect(fleet.obstacle("gpu0")?.kind == .failed)
    #expect(fleet.reports.count { if case .gpuFailed = $0 { true } else { false } } == 7)
    #expect(fleet.reports.count { $0 == .gpuBack(gpu: "GPU-0") } == 6)
  }

  @Test func aMissingNodeHoldsStartsBackForAsLongAsItIsMissingAndCostsNothingThatRuns() {
    var fleet = FleetUnderTest.running(1, of: 2)
    let node = GPUTrouble.missingNode("/dev/nvidia-uvm")
    fleet.pass(.seconds(60), .of(0, trouble: node), .of(1, trouble: node))
    fleet.observe(demand: 2, idle: ["gpu0": nil])
    #expect(fleet.roles == ["gpu0": .core] && fleet.stops.isEmpty)
    #expect(fleet.starts == ["gpu0"] && fleet.held == [.failed])
    #expect(fleet.fleet.standing(ofGPU: "GPU-1", at: fleet.now) == .failed(reason: node.description, retryIn: nil))
    fleet.read(.of(0), .of(1))
    #expect(fleet.starts == ["gpu0", "gpu1"])
  }

  @Test func aGPUOfWhichNothingIsKnownAnyMoreIsNotBack() {
    var fleet = FleetUnderTest.running(1)
    fleet.read(.of(0, trouble: .lost))
    fleet.dies("gpu0")
    fleet.pass(.seconds(1200), .of(0, used: nil, by: nil, trouble: .unanswered("it hangs")))
    #expect(!fleet.reports.contains(.gpuBack(gpu: "GPU-0")) && fleet.obstacle("gpu0")?.kind == .failed)
    fleet.pass(.seconds(12), .of(0))
    #expect(fleet.reports.contains(.gpuBack(gpu: "GPU-0")) && fleet.starts == ["gpu0", "gpu0"])
  }

  @Test func anUncordonEndsAQuarantineButNotATroubleThatIsStillThere() throws {
    var fleet = FleetUnderTest.running(0, of: 1)
    for _ in 0..<6 {
      fleet.read(.of(0, trouble: .needsReset))
      fleet.read(.of(0))
    }
    try fleet.uncordon("gpu0")
    #expect(fleet.obstacle("gpu0") == nil)
    fleet.read(.of(0, trouble: .needsReset))
    try fleet.uncordon("gpu0")
    #expect(fleet.obstacle("gpu0")?.kind == .failed)
  }

  @Test func aDriverThatDoesNotAnswerHoldsStartsBackAndCostsNothingThatRuns() {
    var fleet = FleetUnderTest.running(1, of: 2)
    let mute = GPUTrouble.unanswered("driver/library version mismatch")
    fleet.read(.of(0, used: nil, by: nil, trouble: mute), .of(1, used: nil, by: nil, trouble: mute))
    #expect(fleet.roles == ["gpu0": .core])
    fleet.observe(demand: 2, idle: ["gpu0": nil])
    #expect(fleet.starts == ["gpu0"] && fleet.held == [.failed])
    fleet.read(.of(0), .of(1))
    #expect(fleet.starts == ["gpu0", "gpu1"], "without a pause: the GPU itself was well")
  }

  @Test func whatComesUpOnAGPUThatHasFailedMeanwhileGoes() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.read(.of(0, trouble: .lost))
    #expect(fleet.starts == ["gpu0"])
    fleet.runs("gpu0")
    #expect(fleet.kills == ["gpu0"])
  }

  @Test func aStartIsGivenUpWhereItsGPUHasFailedBeforeItBegins() {
    var fleet = FleetUnderTest(gpus: 1, minimum: 1)
    fleet.read(.of(0, trouble: .lost))
    fleet.startBegins("gpu0")
    #expect(fleet.fleet.placements["gpu0"]?.life == .absent)
    #expect(fleet.reports.contains(.stopped("gpu0", .mayNotStartAnyMore)) && fleet.starts == ["gpu0"])
  }

  @Test func anApplicationsErrorRestartsItsInstanceOnceItHoldsNothingAndRepeatedOnesCount() {
    var fleet = FleetUnderTest.running(2)
    fleet.observe(demand: 2, idle: ["gpu0": nil, "gpu1": nil])
    fleet.faults(0, "XID 31 (memory page fault)", .application)
    #expect(fleet.roles == ["gpu0": .out, "gpu1": .core])
    fleet.advance(.seconds(600))
    #expect(fleet.stops.isEmpty, "what it has begun it finishes")
    fleet.observe(demand: 0, idle: ["gpu0": .zero, "gpu1": .zero])
    fleet.answer("gpu0", .retired)
    fleet.dies("gpu0")
    #expect(fleet.starts == ["gpu0", "gpu1", "gpu0"])
    #expect(fleet.fleet.placements["gpu0"]?.history.restarts.failures == 1)
  }

  @Test func aWarningIsToldAndNoMoreAndTheSameAgainNotAtOnce() {
    var fleet = FleetUnderTest.running(1)
    for _ in 0..<100 { fleet.faults(0, "XID 63", .warning) }
    #expect(fleet.reports.count { if case .gpuEvent = $0 { true } else { false } } == 1)
    fleet.advance(.seconds(61))
    fleet.faults(0, "XID 63", .warning)
    #expect(fleet.reports.count { if case .gpuEvent = $0 { true } else { false } } == 2)
    #expect(fleet.roles == ["gpu0": .core] && fleet.retirements.isEmpty)
  }

  @Test func aGroupGoesWithAnyOfItsGPUsAndTheOthersNeverNotice() {
    var fleet = FleetUnderTest(gpus: 0, minimum: 2)
    fleet.configure([fleet.placement("big", on: "GPU-0", "GPU-1"), fleet.placement("gpu2", on: "GPU-2")])
    fleet.runs("big")
    fleet.runs("gpu2")
    fleet.connect()
    fleet.observe(references: [], ready: ["big", "gpu2"])
    fleet.read(.of(0), .of(1, trouble: .lost), .of(2))
    #expect(fleet.kills == ["big"] && fleet.roles == ["gpu2": .core])
    #expect(fleet.fleet.decision.target == 1, "no placement may run a second one")
  }

  @Test func gpusThatNobodyKnowsTakeNoRoomForLong() {
    var fleet = FleetUnderTest.running(1)
    for number in 10..<100 { fleet.faults(number, "XID 79", .resetNeeded) }
    #expect(fleet.fleet.gpus.isEmpty)
    for number in 10..<100 { fleet.read(.of(number)) }
    #expect(fleet.fleet.gpus.count == 1)
  }
}
