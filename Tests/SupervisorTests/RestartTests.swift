import ControlInterface
import Foundation
import Glibc
import Launching
import PoolConfiguration
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Supervisor

/// A supervisor goes, and another one comes.
@Suite struct RestartTests {
  @Test func theFolderOfTheControlSocketsNamesThePoolsUnits() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { daemon in
      var options = await daemon.options
      let folder = try #require(realpath(stage.folder.path, nil).map { String(cString: $0) })
      #expect(options.owner.folder == folder)
      #expect(symlink(folder, stage.folder.path(to: "link")) == 0)
      options.dispatcherSocket = stage.folder.path(to: "link/dispatcher.sock")
      #expect(options.owner.folder == folder)
    }
  }

  @Test func theUnitsThatRunAreAdoptedAndNoneIsStartedTwice() async throws {
    let stage = try Stage()
    try await stage.startDispatcher()
    let first = try await stage.start()
    stage.dispatcher.change { $0.depth = 4 }
    try await eventually(within: patience, "four are told of") { stage.told(.core).count == 4 }
    // What is not ready yet would be taken back.
    try await eventually(within: patience, "four are ready") { await first.fleet.ready == 4 }
    let before = stage.dispatcher.world.set
    await first.stop(instances: .leave)
    #expect(stage.launcher.world.isClosed && stage.launcher.world.units.count == 4)

    let launcher = stage.launcher.successor()
    let second = try await stage.start(launcher)
    try await eventually(within: patience, "the same four are told of") {
      stage.dispatcher.world.set.sorted { $0.id < $1.id }.map(\.invocation)
        == before.sorted { $0.id < $1.id }.map(\.invocation)
    }
    #expect(launcher.world.orders == [])
    try await stage.tells("gpu0 is adopted: it runs already, process 1001 at 127.0.0.1:11500")
    await second.stop(instances: .stop)
    await stage.dispatcher.stop()
    #expect(launcher.world.units.isEmpty && launcher.world.violations == [])
  }

  @Test func stoppingWithTheInstancesLeavesNone() async throws {
    let stage = try Stage()
    let daemon = try await stage.start()
    try await stage.running("gpu0")
    await daemon.stop(instances: .stop)
    #expect(stage.launcher.world.units.isEmpty && stage.launcher.world.orders == ["start gpu0", "stop gpu0"])
    #expect(stage.journal.last?.contains("supervisor ends: instances are stopped") == true)
    await #expect(throws: (any Error).self) { _ = try await stage.client() }
  }

  @Test func aStartUnderWayIsAwaitedAndStopped() async throws {
    let stage = try Stage()
    stage.launcher.change { $0.held = ["gpu0"] }
    let daemon = try await stage.start()
    try await eventually(within: patience, "it is starting") { stage.launcher.world.starting == ["gpu0"] }
    async let stopped: Void = daemon.stop(instances: .stop)
    stage.launcher.change { $0.held = [] }
    await stopped
    #expect(stage.launcher.world.units.isEmpty && stage.launcher.world.orders == ["start gpu0", "stop gpu0"])
  }

  @Test func aUnitOfAnotherSpecificationIsReplacedOnlyOnceItIsEmpty() async throws {
    let stage = try Stage()
    stage.launcher.run("gpu0", specification: "of yesterday")
    stage.dispatcher.change { $0.leases["gpu0"] = 1 }
    try await withSupervisor(stage) { _ in
      try await stage.running("gpu0", "gpu1")
      try await eventually(within: patience, "it drains, beside the new one") { stage.told(.draining) == ["gpu0"] }
      stage.dispatcher.change { $0.leases = [:] }
      try await stage.running("gpu1")
      try await stage.tells("gpu0 drains: its specification changed")
    }
  }

  @Test func aUnitThatIsOnItsWayOutIsWaitedForAndItsGPUStaysItsOwn() async throws {
    let stage = try Stage("gpus: [{uuid: GPU-a}]\nrestarts: {pause: 50ms}\n")
    stage.launcher.run("gpu0", specification: "of yesterday")
    stage.launcher.change { $0.ending = ["gpu0"] }
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 stops: it was being stopped already")
      try await stage.tells("gpu0 ready")
      #expect(stage.launcher.world.orders == ["stop gpu0", "start gpu0"])
      #expect(stage.launcher.world.lives == 2)
    }
  }

  @Test func anUncordonTakesADrainOffTheDisk() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      stage.dispatcher.change { $0.leases["gpu0"] = 1 }
      try await stage.order(.drainInstance, SupervisorCalls.InstanceOrder(id: "gpu0", timeoutSeconds: 3600))
      func stored() throws -> StandingOrders {
        let file = URL(filePath: stage.folder.path(to: "orders.json"))
        return try JSONDecoder().decode(StandingOrders.self, from: Data(contentsOf: file))
      }
      #expect(try stored().instances.keys.sorted() == ["gpu0"])
      try await eventually(within: patience, "it drains") { stage.told(.draining) == ["gpu0"] }
      try await stage.order(.uncordonGPU, SupervisorCalls.UncordonGPU(gpu: "gpu0"))
      #expect(try stored().instances == [:] && stored().cordons == [:])
      try await eventually(within: patience, "it goes on") { stage.told(.draining).isEmpty }
      #expect(stage.launcher.world.orders.contains("stop gpu0") == false)
    }
  }

  @Test func aUnitWithoutAPlacementDrainsAndStops() async throws {
    let stage = try Stage("gpus: cpu\n")
    stage.launcher.run("gpu7", specification: "of a GPU that is gone")
    try await withSupervisor(stage) { _ in
      try await stage.running("cpu0")
      try await stage.tells("gpu7 drains: its placement is no longer configured")
    }
  }

  @Test func variablesOfWhatNeitherRunsNorIsPlannedAreNotKept() async throws {
    let stage = try Stage()
    func kept() throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: stage.folder.path).filter { $0.hasSuffix(".environment") }
        .sorted().map { String($0.prefix { $0 != "." }) }
    }
    for id in ["gpu0", "gpu3", "gpu7", "gpu8"] { try stage.folder.write("TOKEN=x\n", to: "\(id).environment") }
    stage.launcher.run("gpu7", specification: "of a GPU that is gone")
    stage.dispatcher.change { $0.leases = ["gpu7": 1] }
    try await withSupervisor(stage) { _ in
      #expect(try kept() == ["gpu0", "gpu3", "gpu7"])
      stage.configure("gpus: [{uuid: GPU-a}]\n")
      try await stage.order(.reload, NoParameters())
      try await eventually(within: patience, "what runs keeps its own") { try kept() == ["gpu0", "gpu7"] }
      stage.dispatcher.change { $0.leases = [:] }
      try await eventually(within: patience, "it has ended") {
        stage.dispatcher.change { _ in }
        return try kept() == ["gpu0"]
      }
    }
  }

  @Test func aStateFolderIsKnownByItsPathFromTheRoot() async throws {
    let folder = try TemporaryDirectory()
    let up = String(repeating: "../", count: FileManager.default.currentDirectoryPath.split(separator: "/").count)
    let state = try await StateDirectory.take(up + folder.path.dropFirst())
    #expect(state.path == RealPath.of(folder.path))
  }

  @Test func aUnitThatSomebodyElseStartsIsTaken() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      stage.launcher.appear("gpu2", specification: stage.launcher.world.units["gpu0"]?.unit.specification ?? "")
      try await stage.tells("gpu2 is adopted")
    }
  }

  @Test func cordonsAndBoundsOutliveTheSupervisor() async throws {
    let stage = try Stage()
    let first = try await stage.start()
    try await stage.running("gpu0")
    try await stage.order(.cordonGPU, SupervisorCalls.CordonGPU(gpu: "gpu1", reason: "a fan is loud"))
    try await stage.order(.setScale, SupervisorCalls.SetScale(fixed: 3, forSeconds: 3600))
    try await stage.running("gpu0", "gpu2", "gpu3")
    await first.stop(instances: .stop)

    let launcher = ScriptedLauncher()
    let second = try await stage.start(launcher)
    try await eventually(within: patience, "three run") { launcher.world.units.count == 3 }
    #expect(launcher.world.units["gpu1"] == nil)
    let status = try await stage.status()
    #expect(status.gpus[1].cordon == "a fan is loud" && status.instances[1].state == .cordoned)
    #expect(status.isOverridden && status.minimum == 3 && status.maximum == 3)
    #expect((3000...3600).contains(status.overrideSecondsLeft ?? 0))
    try await stage.tells(
      "orders of before hold on: at least 3 instances, at most 3 instances; GPU-b is cordoned (a fan is loud)")
    await second.stop(instances: .stop)
  }

  @Test func drainsAndRestartsOutliveTheSupervisor() async throws {
    let stage = try Stage(Stage.fourGPUs.replacing("min: 1", with: "min: 3"))
    try await stage.startDispatcher()
    let first = try await stage.start()
    stage.dispatcher.change { $0.leases = ["gpu0": 1, "gpu1": 1, "gpu2": 1] }
    try await eventually(within: patience, "three are ready") { await first.fleet.ready == 3 }
    try await stage.order(.drainInstance, SupervisorCalls.InstanceOrder(id: "gpu0"))
    try await stage.order(.restartInstance, SupervisorCalls.InstanceOrder(id: "gpu1"))
    try await stage.order(.drainInstance, SupervisorCalls.InstanceOrder(id: "gpu2", timeoutSeconds: 3600))
    let kept = await first.fleet.orders
    #expect(kept.count == 3)
    await first.stop(instances: .leave)

    let launcher = stage.launcher.successor()
    let second = try await stage.start(launcher)
    try await eventually(within: patience, "they drain") { stage.told(.draining) == ["gpu0", "gpu1", "gpu2"] }
    let taken = await second.fleet.orders
    #expect(taken["gpu0"] == .drain(deadline: nil) && taken["gpu1"] == kept["gpu1"])
    var left: Double?
    if case .drain(let deadline?) = taken["gpu2"] { left = (deadline - MonotonicClock.now).seconds }
    #expect((3000...3600).contains(try #require(left)))
    let restarted = launcher.world.units["gpu1"]
    stage.dispatcher.change { $0.leases = [:] }
    try await eventually(within: patience, "gpu1 has another life, and the others are gone") {
      stage.dispatcher.change { _ in }
      let units = launcher.world.units
      return units["gpu0"] == nil && units["gpu2"] == nil && units["gpu1"].map { $0 != restarted } ?? false
    }
    await second.stop(instances: .stop)
    await stage.dispatcher.stop()
    // The restart is done; the drains hold as long as their cordons.
    let stored = try #require(try await StateDirectory.take(stage.folder.path).load(.orders, as: StandingOrders.self))
    #expect(stored.instances.keys.sorted() == ["gpu0", "gpu2"] && stored.cordons.count == 2)
  }

  @Test func boundsThatNoOperatorCouldHaveOrderedAreNotTakenUp() async throws {
    let stage = try Stage()
    try stage.folder.write(#"{"cordons":{},"scale":{"minimum":-1,"maximum":-5}}"#, to: "orders.json")
    try await withSupervisor(stage) { daemon in
      try await stage.tells("orders.json is damaged: min is -1; expected 0 to ")
      try await stage.tells("gpu0 ready")
      #expect(await daemon.fleet.scaler.override == nil)
    }
  }

  @Test func aCordonHoldsForAGPUThatComesBack() async throws {
    let stage = try Stage()
    let daemon = try await stage.start()
    try await stage.order(.cordonGPU, SupervisorCalls.CordonGPU(gpu: "GPU-a", reason: "away for repair"))
    stage.configure("gpus: [{uuid: GPU-b}]\n")
    try await stage.order(.reload, NoParameters())
    await daemon.stop(instances: .stop)

    stage.configure("gpus: [{uuid: GPU-a}]\n")
    let launcher = ScriptedLauncher()
    let second = try await stage.start(launcher)
    #expect(try await stage.status().instances.map(\.reason) == ["away for repair"])
    #expect(launcher.world.orders == [])
    try await stage.order(.uncordonGPU, SupervisorCalls.UncordonGPU(gpu: "GPU-a"))
    try await eventually(within: patience, "it starts") { launcher.world.units["gpu0"] != nil }
    await second.stop(instances: .stop)
  }

  @Test func twoSupervisorsDoNotShareAStateFolder() async throws {
    let stage = try Stage()
    let first = try await stage.start()
    let error = try await #require(throws: SupervisorError.self) { try await StateDirectory.take(stage.folder.path) }
    #expect(error.code == .inUse)
    #expect(
      error.message.hasPrefix("the state folder \(stage.folder.path) is in use by another pool (process \(getpid())): ")
    )
    #expect(error.message.contains("--state"))
    async let waiting = StateDirectory.take(stage.folder.path, patience: patience)
    await first.stop(instances: .stop)
    let taken = try await waiting
    taken.close()
    let again = try await StateDirectory.take(stage.folder.path)
    #expect(again.path == stage.folder.path)
  }

  /// A driver that hangs keeps a thread of a killed supervisor, and with it the open files.
  @Test func aStateFolderWhoseOwnerIsAZombieIsTaken() async throws {
    let folder = try TemporaryDirectory()
    let program = try RunningProgram(
      "python3",
      [
        "-c",
        """
        import fcntl, os, signal
        if os.fork() == 0:
          lock = open("\(folder.path)/lock", "w")
          fcntl.flock(lock, fcntl.LOCK_EX)
          print(os.getpid(), file=lock, flush=True)
          if os.fork() > 0: os._exit(0)
          print("locked", flush=True)
        signal.pause()
        """,
      ])
    try await eventually(within: patience, "it is locked") { program.output.hasPrefix("locked") }
    let taken = try await StateDirectory.take(folder.path, patience: patience)
    await #expect(throws: SupervisorError.self) { try await StateDirectory.take(folder.path) }
    taken.close()
    program.killTree()
  }

  @Test func damagedStateIsPutAsideAndTold() async throws {
    let stage = try Stage()
    try stage.folder.write("{\"cordons\": 3", to: "orders.json")
    let daemon = try await stage.start()
    try await stage.tells("stored state is not used: \(stage.folder.path)/orders.json is damaged")
    try await stage.running("gpu0")
    #expect(try await stage.status().gpus.allSatisfy { $0.cordon == nil })
    await daemon.stop(instances: .stop)
  }
}
