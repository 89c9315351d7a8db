import ControlInterface
import Foundation
import Glibc
import NIOPosix
import PoolCore
import Synchronization
import TestSupport
import Testing
import Varlink

@testable import Supervisor

/// What operators ask and order, over the socket.
@Suite struct ControlTests {
  @Test func rootThePoolsUserAndTheDispatchersAreAdministrators() {
    #expect(ControlService.administrators(dispatcher: 900) == [0, geteuid(), 900])
    #expect(ControlService.administrators(dispatcher: nil) == [0, geteuid()])
  }

  @Test func readingIsOpenAndChangingIsNot() async throws {
    let folder = try TemporaryDirectory()
    let refused = Mutex<[String]>([])
    let service = ControlService(
      administrators: [], handOn: { _, call in call.reply() },
      refused: { method, peer in refused.withLock { $0.append("\(method) \(peer.userID)") } })
    let server = try await VarlinkServer.start(
      at: .path(folder.path(to: "s")), serving: [service],
      as: VarlinkService(vendor: "", product: "", version: "", url: ""),
      on: MultiThreadedEventLoopGroup.singleton.next())
    let client = try await VarlinkClient.connect(to: folder.path(to: "s"), on: MultiThreadedEventLoopGroup.singleton)
    for method in SupervisorInterface.Method.allCases {
      var refusal: VarlinkErrorReply?
      do throws(VarlinkError) {
        _ = try await client.call(method.qualified, as: NoParameters.self)
      } catch {
        if case .remote(let reply) = error.code { refusal = reply }
      }
      #expect(refusal == (method.changes ? .permissionDenied : nil), "\(method)")
    }
    await client.close()
    await server.close()
    let changing = SupervisorInterface.Method.allCases.filter(\.changes)
    #expect(refused.withLock { $0 } == changing.map { "\($0) \(geteuid())" })
  }

  @Test func theStatusNamesTheInstanceThatWritesTheModelStore() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await eventually(within: patience, "the dispatcher is told of one that writes") {
        stage.dispatcher.world.set.contains { $0.writesStore == true }
      }
      let store = try #require(try await stage.status().store)
      #expect(store.writer == "gpu0" && store.refusal == nil)
      stage.launcher.change { $0.failures["gpu0"] = Array(repeating: "broken", count: 9) }
      stage.launcher.end("gpu0", "killed")
      try await eventually(within: patience, "another one writes") {
        let writer = try await stage.status().store?.writer
        return writer != nil && writer != "gpu0"
      }
    }
  }

  @Test func whoIsRefusedOverAndOverIsToldOfOnce() {
    var refusals = Refusals()
    func isNews(_ userID: UInt32, at seconds: Int64) -> Bool {
      refusals.isNews(userID, at: .zero + .seconds(seconds))
    }
    #expect(isNews(1000, at: 0) && !isNews(1000, at: 9) && isNews(1001, at: 9))
    #expect(isNews(1000, at: 10) && !isNews(1001, at: 11) && !isNews(1000, at: 19))
  }

  @Test func anOrderThatCannotBeStoredIsNotAnsweredWithYesAndIsStoredLater() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { daemon in
      try await stage.tells("gpu0 ready")
      let inTheWay = stage.folder.path(to: "orders.json.new")
      try #require(mkdir(inTheWay, 0o700) == 0)
      for gpu in ["gpu1", "gpu2"] {
        let refusal = try await stage.refusal(of: .cordonGPU, SupervisorCalls.CordonGPU(gpu: gpu, reason: "hot"))
        #expect(refusal.name == ControlError.notStored)
        #expect(refusal.parameters["reason"]?.string?.contains("orders.json can't be written: ") == true, "\(refusal)")
      }
      #expect(try await stage.status().gpus.map(\.cordon) == [nil, "hot", "hot", nil])
      #expect(stage.journal.count { $0.contains("state is not stored") } == 1)
      try #require(rmdir(inTheWay) == 0)
      // As the tick does, every tenth time.
      await daemon.storeAgain()
      try await stage.tells("state is stored again")
      let stored = try String(contentsOfFile: stage.folder.path(to: "orders.json"), encoding: .utf8)
      #expect(stored.contains("GPU-b") && stored.contains("GPU-c"))
      try await stage.order(.uncordonGPU, SupervisorCalls.UncordonGPU(gpu: "gpu1"))
    }
  }

  @Test func boundsThatCannotBeAreRefused() async throws {
    let stage = try Stage(Stage.fourGPUs.replacing("min: 1", with: "min: 1, max: 3"))
    try await withSupervisor(stage) { daemon in
      for (order, text) in [
        (SupervisorCalls.SetScale(min: -1), "min is -1; expected 0 to 256"),
        (SupervisorCalls.SetScale(max: 2000), "max is 2000; expected 0 to 256"),
        (SupervisorCalls.SetScale(min: 3, max: 2), "min 3 is more than max 2"),
        (SupervisorCalls.SetScale(min: 4), "min 4 is more than the configured scaling.max, 3: give max as well"),
        (SupervisorCalls.SetScale(max: 2, fixed: 2), "fixed stands for min and max: give it alone"),
        (SupervisorCalls.SetScale(forSeconds: 5), "forSeconds needs min, max or fixed"),
        (SupervisorCalls.SetScale(fixed: 2, forSeconds: 0), "forSeconds is 0.0; expected more than 0 and at most"),
        (SupervisorCalls.SetScale(fixed: 2, forSeconds: 1e300), "forSeconds is 1e+300; expected more than 0"),
      ] {
        let refusal = try await stage.refusal(of: .setScale, order)
        #expect(refusal.name == ControlError.invalidScale)
        #expect(refusal.parameters["reason"]?.string?.hasPrefix(text) == true, "\(refusal)")
      }
      #expect(await daemon.fleet.scaler.override == nil)
      for timeout in [-1.0, 1e300] {
        let refusal = try await stage.refusal(
          of: .drainInstance, SupervisorCalls.InstanceOrder(id: "gpu0", timeoutSeconds: timeout))
        #expect(refusal == .invalidParameter("timeoutSeconds"))
      }
      let refusal = try await stage.refusal(of: .cordonGPU, SupervisorCalls.CordonGPU(gpu: "gpu0", reason: "a\nb"))
      #expect(refusal == .invalidParameter("reason"))
    }
  }

  @Test func whatIsNotThereIsNamed() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      let gpu = try await stage.refusal(of: .cordonGPU, SupervisorCalls.CordonGPU(gpu: "gpu9", reason: ""))
      #expect(gpu == VarlinkErrorReply(ControlError.noSuchGPU, ["gpu": "gpu9"]))
      let uncordoned = try await stage.refusal(of: .uncordonGPU, SupervisorCalls.UncordonGPU(gpu: "gpu9"))
      #expect(uncordoned == VarlinkErrorReply(ControlError.noSuchGPU, ["gpu": "gpu9"]))
      let instance = try await stage.refusal(of: .restartInstance, SupervisorCalls.InstanceOrder(id: "gpu9"))
      #expect(instance == VarlinkErrorReply(ControlError.noSuchInstance, ["id": "gpu9"]))
    }
  }

  @Test func whatCouldNotBeStartedAgainIsNotRestarted() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { daemon in
      try await stage.tells("gpu0 ready")
      try await stage.order(.cordonGPU, SupervisorCalls.CordonGPU(gpu: "gpu0", reason: "hot"))
      let refusal = try await stage.refusal(of: .restartInstance, SupervisorCalls.InstanceOrder(id: "gpu0"))
      #expect(
        refusal
          == VarlinkErrorReply(ControlError.cannotStart, ["id": "gpu0", "reason": "it is cordoned (hot)"]))
      #expect(await daemon.fleet.orders.isEmpty)
    }
  }

  @Test func anOperatorsBoundsHoldForTheirTime() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.running("gpu0")
      try await stage.order(.setScale, SupervisorCalls.SetScale(min: 2, forSeconds: 2))
      try await stage.tells("gpu1 runs: ")
      try await stage.tells("at least 2 instances, for a time: by order of uid ")
      try await stage.tells("the configured bounds hold again: the operator's have ended")
      #expect(try await !stage.status().isOverridden)
    }
  }

  @Test func aCordonKeepsStartsAwayAndARunningInstanceGoesOn() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      for gpu in ["gpu0", "GPU-b"] {
        try await stage.order(.cordonGPU, SupervisorCalls.CordonGPU(gpu: gpu, reason: "hot"))
      }
      stage.dispatcher.change { $0.depth = 8 }
      try await stage.running("gpu0", "gpu2", "gpu3")
      let status = try await stage.status()
      #expect(status.instances[0].state == .ready && status.instances[0].reason == "cordoned: hot")
      #expect(status.instances[1].state == .cordoned && status.gpus.map(\.cordon) == ["hot", "hot", nil, nil])
      try await stage.order(.uncordonGPU, SupervisorCalls.UncordonGPU(gpu: "gpu1"))
      try await stage.running("gpu0", "gpu1", "gpu2", "gpu3")
      try await stage.tells("GPU-b (gpu1) is cordoned: hot, by order of uid ")
      try await stage.tells("GPU-b (gpu1) is cordoned no more: by order of uid ")
    }
  }

  @Test func aDrainWaitsForTheLastRequestAndAnotherInstanceTakesOver() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      stage.dispatcher.change { $0.leases["gpu0"] = 1 }
      try await stage.order(.drainInstance, SupervisorCalls.InstanceOrder(id: "gpu0"))
      try await eventually(within: patience, "it drains") { stage.told(.draining) == ["gpu0"] }
      try await eventually(within: patience, "another one is ready") { !stage.told(.core).isEmpty }
      #expect(stage.launcher.world.units["gpu0"] != nil)
      stage.dispatcher.change { $0.leases = [:] }
      try await eventually(within: patience, "it is gone") { stage.launcher.world.units["gpu0"] == nil }
      #expect(try await stage.status().instances[0].state == .cordoned)
    }
  }

  @Test func aDrainWithADeadlineCuts() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      stage.dispatcher.change { $0.leases["gpu0"] = 1 }
      try await stage.order(.drainInstance, SupervisorCalls.InstanceOrder(id: "gpu0", timeoutSeconds: 0))
      try await eventually(within: patience, "it is gone") { stage.launcher.world.units["gpu0"] == nil }
    }
  }

  @Test func aRestartGivesTheSamePlacementANewLife() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      // The other that takes over is enough, so this one is surplus; but not idle for long enough.
      stage.dispatcher.change { $0.idleSeconds = 0 }
      let first = stage.launcher.world.units["gpu0"]?.unit.invocation
      try await stage.order(.restartInstance, SupervisorCalls.InstanceOrder(id: "gpu0"))
      try await eventually(within: patience, "another life") {
        stage.launcher.world.units["gpu0"].map { $0.unit.invocation != first } ?? false
      }
      try await eventually(within: patience, "it is ready again") {
        try await stage.status().instances[0].state == .ready
      }
    }
  }

  @Test func decisionsAreExplainedNewestLast() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      let client = try await stage.client()
      let decisions = try await client.call(
        SupervisorInterface.Method.explain.qualified, as: SupervisorCalls.ExplainReply.self
      ).decisions
      let target = try #require(decisions.firstIndex { $0.what == "target 1 (was 0)" })
      let ready = try #require(decisions.firstIndex { $0.what.hasPrefix("gpu0 ready") })
      #expect(target < ready && decisions[target].why.hasPrefix("the configured minimum; 0 ready, 0 requests"))
      #expect(decisions.map(\.secondsAgo) == decisions.map(\.secondsAgo).sorted(by: >))
    }
  }

  @Test func aWatcherSeesWhatChanges() async throws {
    let stage = try Stage()
    stage.launcher.change { $0.held = ["gpu0"] }
    try await withSupervisor(stage) { _ in
      let client = try await stage.client()
      var states: [SupervisorTypes.State] = []
      for try await push in try await client.subscribe(
        SupervisorInterface.Method.watch.qualified, as: SupervisorCalls.StatusReply.self)
      {
        if states.last != push.status.instances[0].state { states.append(push.status.instances[0].state) }
        if states.last == .launching { stage.launcher.change { $0.held = [] } }
        if states.last == .ready { break }
      }
      #expect(states.first == .launching && states.last == .ready)
    }
  }

  @Test func theStatusSaysAll() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      stage.dispatcher.change { $0.leases["gpu0"] = 1 }
      try await eventually(within: patience, "the lease is seen") { try await stage.status().instances[0].leases == 1 }
      let status = try await stage.status()
      #expect(status.version == "1.2.3" && status.launcher == "a scripted launcher" && status.ollama == stage.ollama)
      #expect(status.dispatcherConnected && status.inventory == .configured && status.problems == [])
      #expect(status.minimum == 1 && status.maximum == 4 && !status.isOverridden && status.processID > 0)
      let gpu0 = status.instances[0]
      #expect(gpu0.state == .ready && gpu0.address == "127.0.0.1:11500" && gpu0.mainPID == 1001)
      #expect(gpu0.invocation == "life-1" && gpu0.gpus == ["GPU-a"] && gpu0.unit == nil)
      #expect(status.gpus.map(\.uuid) == ["GPU-a", "GPU-b", "GPU-c", "GPU-d"])
      #expect(status.gpus.map(\.number) == [0, 1, 2, 3] && status.gpus[0].instances == ["gpu0"])
    }
  }
}
