import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Launching
@testable import Supervisor

/// The way out to the network of the instance that writes the model store.
@Suite struct NetworkOrderTests {
  /// A launcher that can close networks, as units of the system manager.
  private func stage() throws -> Stage {
    let stage = try Stage(launcher: ScriptedLauncher(startsAsOwnUser: false))
    var store = ModelStore.resolve(setting: "/srv/models", user: .own, home: "/", environment: [:], service: nil)
    store.refusal = nil
    let found = store
    stage.findStore { _ throws(LaunchError) in found }
    return stage
  }

  private func networks(_ stage: Stage) -> [String] {
    stage.launcher.world.orders.filter { $0.contains("network") }
  }

  @Test func aWayOutThatCanNotBeOpenedIsTriedAgainAndToldOnce() async throws {
    let stage = try stage()
    stage.launcher.change { $0.failedNetworks = 2 }
    try await withSupervisor(stage) { _ in
      try await stage.tells("gpu0 has no way out to the network: systemd does not answer; tried again every 5 s")
      try await eventually(within: patience, "it is open") {
        stage.launcher.world.units["gpu0"]?.unit.hasNetwork == true
      }
      #expect(networks(stage) == Array(repeating: "open network of gpu0", count: 3))
      #expect(stage.journal.count { $0.contains("has no way out") } == 1)
    }
  }

  @Test func ordersAboutOneInstanceAreCarriedOutOneAfterTheOtherAndTheLastHolds() async throws {
    let stage = try stage()
    try await withSupervisor(stage) { daemon in
      try await eventually(within: patience, "it is open") {
        stage.launcher.world.units["gpu0"]?.unit.hasNetwork == true
      }
      let invocation = try #require(stage.launcher.world.units["gpu0"]?.unit.invocation)
      stage.launcher.change { $0.areNetworksHeld = true }
      await daemon.apply { _, _ in [.openNetwork("gpu0", invocation, false)] }
      try await eventually(within: patience, "the first is under way") {
        !stage.launcher.world.networksUnderWay.isEmpty
      }
      for open in [true, false, true] { await daemon.apply { _, _ in [.openNetwork("gpu0", invocation, open)] } }
      stage.launcher.change { $0.areNetworksHeld = false }
      try await eventually(within: patience, "the last is carried out") {
        stage.launcher.world.networksUnderWay.isEmpty && networks(stage).count >= 3
      }
      #expect(networks(stage) == ["open network of gpu0", "close network of gpu0", "open network of gpu0"])
      #expect(stage.launcher.world.units["gpu0"]?.unit.hasNetwork == true)
    }
  }
}
