import ControlInterface
import Glibc
import PoolConfiguration
import PoolCore
import Synchronization
import TestSupport
import Testing

@testable import Launching
@testable import Supervisor

/// systemd, or the server that the models are on, does not answer when it is asked where they are.
@Suite struct UnknownStoreTests {
  private static let silence = LaunchError(.unavailable, "whether there is an ollama.service is not known")

  private func store(_ path: String, refusal: ModelStore.Refusal? = nil) -> ModelStore {
    var store = ModelStore.resolve(setting: path, user: .own, home: "/", environment: [:], service: nil)
    store.refusal = refusal
    return store
  }

  private func unmounted(_ path: String) -> ModelStore {
    var store = store(path, refusal: .init(problem: "it is not mounted", remedy: "mount it"))
    store.isUnmounted = true
    return store
  }

  private var ofOthers: ModelStore {
    store("/srv/models", refusal: .init(problem: "it is root's", remedy: "give it away"))
  }

  @Test func aStoreThatCanNotBeFoundForAMomentIsStillTheOneThatItWas() async throws {
    let stage = try Stage()
    let found = store("/srv/models")
    stage.findStore { _ throws(LaunchError) in found }
    try await withSupervisor(stage) { daemon in
      try await stage.tells("gpu0 ready")
      stage.findStore { _ throws(LaunchError) in throw Self.silence }
      await daemon.lookAtStore()
      try await daemon.reload()
      #expect(try await stage.status().store?.path == "/srv/models")
      #expect(stage.launcher.world.orders.filter { $0.hasPrefix("st") } == ["start gpu0"])
      // With another key it would be another one.
      stage.configure(Stage.fourGPUs + "models_path: /srv/others\n")
      try await daemon.reload()
      try await stage.tells("nothing can be started before the model store is known: whether there is")
      #expect(try await stage.status().problems == [Self.silence.message])
      #expect(try await stage.status().store == nil)
      #expect(stage.launcher.world.orders.filter { $0.hasPrefix("st") } == ["start gpu0"])
    }
  }

  @Test func nothingIsStartedBeforeTheStoreIsKnownAndAllThatIsWantedAfterwards() async throws {
    let stage = try Stage(Stage.fourGPUs.replacing("quarantine_after: 3", with: "quarantine_after: 1"))
    stage.launcher.run("gpu1", specification: "of before")
    stage.findStore { _ throws(LaunchError) in throw Self.silence }
    try await withSupervisor(stage) { daemon in
      stage.dispatcher.change { $0.depth = 8 }
      try await stage.tells("gpu0 is in quarantine")
      #expect(stage.launcher.world.orders == [] && stage.told(.draining) == [])
      try await eventually(within: patience, "pulls are refused") {
        stage.dispatcher.world.storeRefusal == Self.silence.message
      }
      let found = store("/srv/models", refusal: .init(problem: "it is of others", remedy: "look"))
      stage.findStore { _ throws(LaunchError) in found }
      await daemon.lookAtStore()
      try await eventually(within: patience, "gpu0 runs") { stage.launcher.world.units["gpu0"] != nil }
      let started = try #require(stage.launcher.world.specifications.first)
      #expect(started.modelsPath == "/srv/models" && !started.ownsStore)
    }
  }

  @Test func aStoreThatIsMountedForTheFirstInstanceIsTheirsFromThenOnAndNoneIsReplacedForIt() async throws {
    let stage = try Stage()
    let found = store("/srv/models")
    let unmounted = unmounted("/srv/models")
    stage.findStore { [unmounted, launcher = stage.launcher] _ throws(LaunchError) in
      launcher.world.specifications.isEmpty ? unmounted : found
    }
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 ready")
      let started = try #require(stage.launcher.world.specifications.first)
      // Nobody knows yet who else changes it.
      #expect(started.ownsStore && !started.prunesStore)
      try await eventually(within: patience, "it is looked at again soon") {
        let store = try await stage.status().store
        return store?.refusal == nil && store?.writer == "gpu0"
      }
      #expect(stage.launcher.world.orders.filter { $0.hasPrefix("st") } == ["start gpu0"])
    }
  }

  @Test func aStoreOfOthersStaysTheirsWhileItsMountIsAwayAndNoInstanceIsReplacedForIt() async throws {
    let stage = try Stage()
    let unmounted = unmounted("/srv/models")
    stage.findStore { _ throws(LaunchError) in ofOthers }
    try await withSupervisor(stage) { daemon in
      try await stage.tells("gpu0 ready")
      let specification = try #require(await daemon.plan.specifications["gpu0"])
      #expect(!specification.ownsStore)
      stage.findStore { [unmounted] _ throws(LaunchError) in unmounted }
      // Once it goes, and once it is still away.
      for _ in 0..<2 { await daemon.lookAtStore() }
      #expect(await !daemon.plan.storeIsThere)
      #expect(await daemon.plan.specifications["gpu0"] == specification)
      // Another folder has an owner of its own.
      let elsewhere = self.unmounted("/srv/other")
      #expect(try await daemon.plan.store(.success(elsewhere), for: daemon.plan.settings).get().isOwned)
    }
  }

  @Test func aSupervisorThatStartsWhileTheMountIsAwayReplacesNoInstance() async throws {
    let stage = try Stage()
    let unmounted = unmounted("/srv/models")
    stage.findStore { _ throws(LaunchError) in ofOthers }
    try await stage.startDispatcher()
    let first = try await stage.start()
    try await eventually(within: patience, "one is ready") { await first.fleet.ready == 1 }
    await first.stop(instances: .leave)

    stage.findStore { [unmounted] _ throws(LaunchError) in unmounted }
    let launcher = stage.launcher.successor()
    let second = try await stage.start(launcher)
    let since = await second.ticks
    try await eventually(within: patience, "three ticks") { await second.ticks >= since + 3 }
    #expect(launcher.world.orders == [] && stage.told(.draining) == [])
    stage.findStore { _ throws(LaunchError) in ofOthers }
    await second.lookAtStore()
    try await eventually(within: patience, "three more") { await second.ticks >= since + 6 }
    #expect(launcher.world.orders == [] && stage.told(.draining) == [])
    // What is changed while it is away reaches them all the same: a start mounts it.
    stage.findStore { [unmounted] _ throws(LaunchError) in unmounted }
    stage.configure(Stage.fourGPUs + "context_length: 4096\n")
    try await second.reload()
    try await eventually(within: patience, "one is started in its place") {
      stage.dispatcher.change { _ in }
      return launcher.world.orders.contains("start gpu1")
    }
    await second.stop(instances: .stop)
    await stage.dispatcher.stop()
  }

  @Test func whatFailedForWantOfAMountIsTriedAgainAtOnceWhenItIsThere() async throws {
    let stage = try Stage(Stage.fourGPUs.replacing("quarantine_after: 3", with: "quarantine_after: 1"))
    let found = store("/srv/models")
    let unmounted = unmounted("/srv/models")
    stage.findStore { [unmounted] _ throws(LaunchError) in unmounted }
    stage.launcher.change {
      $0.failures = ["gpu0": ["no mount"], "gpu1": ["no mount"], "gpu2": ["no mount"], "gpu3": ["no mount"]]
    }
    try await withSupervisor(stage) { daemon in
      try await stage.tells("gpu3 is in quarantine")
      stage.findStore { _ throws(LaunchError) in found }
      await daemon.lookAtStore()
      try await eventually(within: patience, "gpu0 runs") { stage.launcher.world.units["gpu0"] != nil }
    }
  }

  @Test func ofTwoReloadsTheOneThatReadTheFilesLastHolds() async throws {
    let stage = try Stage()
    let found = store("/srv/models")
    let isHeld = Mutex(false)
    stage.findStore { settings throws(LaunchError) in
      if settings.slots == 2 {
        isHeld.withLock { $0 = true }
        try? await eventually(within: patience, "the test lets it go") { isHeld.withLock { !$0 } }
      }
      return found
    }
    try await withSupervisor(stage) { daemon in
      stage.configure(Stage.fourGPUs + "slots: 2\n")
      async let first = daemon.reload()
      try await eventually(within: patience, "the first waits") { isHeld.withLock(\.self) }
      stage.configure(Stage.fourGPUs + "slots: 3\n")
      #expect(try await daemon.reload().slots == 3)
      isHeld.withLock { $0 = false }
      #expect(try await first.slots == 3)
      #expect(await daemon.plan.settings.slots == 3)
    }
  }
}
