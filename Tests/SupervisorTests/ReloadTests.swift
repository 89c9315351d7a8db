import ControlInterface
import GPUInventory
import Glibc
import PoolConfiguration
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Launching
@testable import Supervisor

/// The configuration, the program or the GPUs change while instances run.
@Suite struct ReloadTests {
  private static let noStore = Result<ModelStore, LaunchError>.failure(LaunchError(.timedOut, "no answer"))

  @Test func instancesOfAnOldSpecificationAreReplacedOneAtATime() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      stage.dispatcher.change { $0.depth = 8 }
      try await eventually(within: patience, "four are told of") { stage.told(.core).count == 4 }
      let old = Set(stage.launcher.world.units.values.map(\.unit.specification))
      stage.configure(Stage.fourGPUs + "context_length: 8192\n")
      try await stage.order(.reload, NoParameters())
      let drains = try await mostDrainingUntil(stage) {
        stage.launcher.world.units.count == 4
          && stage.launcher.world.units.values.allSatisfy { !old.contains($0.unit.specification) }
      }
      #expect(drains <= 1)
      #expect(stage.launcher.world.specifications.last?.contextLength == 8192)
      try await stage.tells("configuration reloaded")
    }
  }

  /// The most instances that drained at once, until `end` is true.
  private func mostDrainingUntil(_ stage: Stage, _ end: () -> Bool) async throws -> Int {
    var most = 0
    try await eventually(within: patience, every: .milliseconds(2), "all are replaced") {
      stage.dispatcher.change { _ in }
      most = max(most, stage.told(.draining).count)
      return end()
    }
    return most
  }

  @Test func aBadConfigurationChangesNothing() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { daemon in
      try await stage.tells("gpu0 ready")
      let before = await daemon.plan.settings
      stage.configure("scaling: {min: many}\ngpu: cpu\n")
      let refusal = try await stage.refusal(of: .reload, NoParameters())
      #expect(refusal.name == ControlError.invalidConfiguration)
      guard case .array(let problems)? = refusal.parameters["problems"] else { throw refusal }
      #expect(problems.count == 2 && problems[0].string?.contains("test.yaml:1:16: scaling.min") == true)
      #expect(await daemon.plan.settings == before)
      #expect(stage.launcher.world.orders == ["start gpu0"])
      try await stage.tells("configuration not reloaded, nothing has changed: test.yaml:1:16")
    }
  }

  @Test func aReloadThatNamesAGPUWhichIsNotThereIsRefused() async throws {
    let stage = try Stage("gpus: auto\n")
    try await withSupervisor(stage) { daemon in
      try await stage.running("cpu0")
      stage.configure("placements: [{gpus: [GPU-x]}]\n")
      let refusal = try await stage.refusal(of: .reload, NoParameters())
      #expect(refusal.description.contains("placements[0].gpus: GPU-x is not there"))
      #expect(await daemon.plan.settings.placements == .auto)
    }
  }

  @Test func aPlacementThatTheGPUsOfTheFileDoNotHaveIsRefusedThoughItWasNamedBefore() async throws {
    let stage = try Stage("gpus: [{uuid: A}, {uuid: B}]\nplacements: [{gpus: [0]}, {gpus: [1]}]\n")
    try await withSupervisor(stage) { daemon in
      stage.configure("gpus: [{uuid: A}]\nplacements: [{gpus: [0]}, {gpus: [1]}]\n")
      let refusal = try await stage.refusal(of: .reload, NoParameters())
      #expect(refusal.name == ControlError.invalidConfiguration)
      #expect(await daemon.plan.placements.sites.count == 2)
    }
  }

  @Test func aNewPlacementTakesNoPortOfAnInstanceThatRuns() async throws {
    let gpus = Stage.fourGPUs.replacing("min: 1", with: "min: 2")
    let stage = try Stage(gpus + "placements: [{id: a, gpus: [0]}, {id: b, gpus: [1]}]\n")
    try await withSupervisor(stage) { _ in
      try await stage.running("a", "b")
      #expect(stage.launcher.world.units["b"]?.port == 11501)
      stage.configure(gpus + "placements: [{id: b, gpus: [1]}, {id: c, gpus: [2]}]\n")
      try await stage.order(.reload, NoParameters())
      try await stage.running("b", "c")
      #expect(stage.launcher.world.units["c"]?.port == 11503)
      #expect(!stage.journal.contains { $0.contains("failed") })
    }
  }

  @Test func scalingSettingsHoldAtOnce() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { _ in
      try await stage.running("gpu0")
      stage.configure(Stage.fourGPUs.replacing("min: 1", with: "min: 3"))
      try await stage.order(.reload, NoParameters())
      try await stage.running("gpu0", "gpu1", "gpu2")
    }
  }

  @Test func whatFailedForWantOfAProgramIsTriedAgainAtOnceWhenItIsBack() async throws {
    let stage = try Stage(Stage.fourGPUs.replacing("quarantine_after: 3", with: "quarantine_after: 1"))
    try #require(rename(stage.ollama, stage.ollama + ".away") == 0)
    try await withSupervisor(stage) { daemon in
      try await stage.tells("is in quarantine")
      try await eventually(within: patience, "all are quarantined") {
        try await stage.status().instances.allSatisfy { $0.state == .quarantined }
      }
      try #require(rename(stage.ollama + ".away", stage.ollama) == 0)
      await daemon.lookAtProgram()
      await daemon.lookAtProgram()
      try await stage.tells("there is a program again: \(stage.ollama)")
      try await stage.running("gpu0")
    }
  }

  @Test func whereOllamaVanishesNothingStandsInForIt() throws {
    let folder = try TemporaryDirectory()
    let (real, standIn) = (folder.path(to: "ollama"), folder.path(to: "ollama-simulator"))
    for name in ["ollama", "ollama-simulator"] { try folder.write("#!/bin/sh\n", to: name, permissions: 0o755) }
    func plan(_ program: String) throws -> CurrentPlan {
      CurrentPlan(
        try ConfigurationReader.read(text: "ollama: \(program)\n", name: "test.yaml"), Inventory(source: .cpu),
        numbering: GPUNumbering(), .allowed,
        program: .success(try OllamaExecutable.find(setting: program, .allowed)), store: Self.noStore, keeping: [:])
    }
    var ofOllama = try plan(real)
    #expect(ofOllama.standIns == .refused)
    let ofSimulator = try plan(standIn)
    #expect(ofSimulator.standIns == .allowed)
    // Nor after it was missed for a while, and over a reload.
    ofOllama.use(.failure(LaunchError(.missingExecutable, "no ollama")))
    #expect(ofOllama.standIns == .refused)
    let changed = ofOllama.changed(
      to: ofSimulator.configuration, Inventory(source: .cpu), ofSimulator.program, Self.noStore)
    #expect(changed.standIns == .refused)
  }

  @Test func anUpgradedProgramIsNoticed() async throws {
    let stage = try Stage()
    try await withSupervisor(stage) { daemon in
      try await stage.tells("gpu0 ready")
      let old = stage.launcher.world.units["gpu0"]?.unit.specification
      try stage.folder.write("#!/bin/sh\n# a new version\n", to: "ollama", permissions: 0o755)
      // As the tick does, every tenth time; what one look alone saw may be half an upgrade.
      await daemon.lookAtProgram()
      #expect(await daemon.plan.specifications["gpu0"]?.digest == old)
      await daemon.lookAtProgram()
      try await stage.tells("the program is another one: \(stage.ollama)")
      try await eventually(within: patience, "one of the new runs alone") {
        stage.dispatcher.change { _ in }
        return stage.launcher.world.units.count == 1
          && stage.launcher.world.units.values.allSatisfy { $0.unit.specification != old }
      }
    }
  }
}
