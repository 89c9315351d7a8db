import ControlInterface
import GPUInventory
import Launching
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Supervisor

/// Readings that don't say all: nothing ends for what was not read.
@Suite struct UncertainReadingTests {
  private func inventory(_ uuids: String..., problems: [InventoryProblem] = []) -> Inventory {
    Inventory(
      source: .drivers, gpus: uuids.enumerated().map { GPU(index: $0, uuid: $1, vendor: .nvidia) }, problems: problems)
  }

  private func troubles(_ inventory: Inventory, known: String...) -> [String: GPUTrouble] {
    let readings = [GPUReading](inventory, known: known) { _ in .unknown }
    return Dictionary(
      uniqueKeysWithValues: readings.compactMap { reading in reading.trouble.map { (reading.uuid, $0) } })
  }

  @Test(arguments: [
    InventoryProblem(gpu: "KFD node 2", subject: "properties", text: "has no location_id"),
    InventoryProblem(gpu: "GPU-b, MIG device 3", subject: "nvmlDeviceGetUUID", code: 999, text: "Unknown Error"),
    InventoryProblem(
      gpu: "A, MIG devices", subject: "nvmlDeviceGetMaxMigDeviceCount", code: 999, text: "Unknown Error"),
    InventoryProblem(gpu: "GPU 3", subject: "nvmlDeviceGetHandleByIndex_v2", code: 999, text: "Unknown Error"),
    InventoryProblem(subject: "nvmlInit_v2", code: 999, text: "Unknown Error"),
    // Which one is not said.
    InventoryProblem(subject: "nvmlDeviceGetCount_v2", code: 15, text: "GPU is lost"),
  ]) func whatIsNotReadMayBeTheOneThatCouldNotBeAsked(_ problem: InventoryProblem) {
    #expect(troubles(inventory("A", problems: [problem]), known: "A", "B") == ["B": .unanswered(problem.description)])
  }

  @Test func onlyACompleteReadingSaysThatAGPUIsMissing() {
    #expect(troubles(inventory("A"), known: "A", "B") == ["B": .missing])
    let name = InventoryProblem(gpu: "A", subject: "nvmlDeviceGetName", code: 999, text: "Unknown Error")
    #expect(troubles(inventory("A", problems: [name]), known: "A", "B") == ["B": .missing])
    // That one is lost was read.
    let lost = InventoryProblem(gpu: "GPU 1", subject: "nvmlDeviceGetUUID", code: 15, text: "GPU is lost")
    #expect(troubles(inventory("A", problems: [lost]), known: "A", "B") == ["B": .missing])
  }

  @Test func theGravestOfTheProblemsOfAGPUCounts() {
    let problems = [999, 15, 16].map {
      InventoryProblem(gpu: "A", subject: "nvmlDeviceGetName", code: $0, text: "it fails")
    }
    #expect(troubles(inventory("A", problems: problems)) == ["A": .lost])
    #expect(troubles(inventory("A", problems: [problems[0], problems[2]])) == ["A": .needsReset])
    #expect(troubles(inventory("A", problems: [problems[0]])) == [:])
    let silent = InventoryProblem(
      gpu: "A", subject: "nvmlDeviceGetHandleByIndex_v2", code: 999, text: "it fails", kind: .silent)
    #expect(troubles(inventory("A", problems: [problems[0], silent])) == ["A": .unanswered(silent.description)])
    // What is said of a divided GPU holds for its slices.
    var divided = inventory("P", "M", problems: [problems[0]])
    divided.gpus[0].kind = .divided
    divided.gpus[1].kind = .slice(of: "P", gpuInstance: 1, computeInstance: 0)
    divided.problems = [
      InventoryProblem(gpu: "M", subject: "nvmlDeviceGetName", code: 999, text: "it fails"),
      InventoryProblem(gpu: "P", subject: "nvmlDeviceGetName", code: 15, text: "it fails"),
    ]
    #expect(troubles(divided) == ["M": .lost])
  }

  @Test func aGPUThatMayNotHaveBeenAskedKeepsItsPlaceAndIsNotCalledGone() {
    let old = inventory("A", "B")
    let general = InventoryProblem(subject: "nvmlInit_v2", code: 18, text: "mismatch")
    #expect(inventory(problems: [general]).keeping(old).problems == [general])
    #expect(inventory("A").keeping(old).problems.map(\.kind) == [.unknown])
  }

  @Test func allGPUsAreThereStillWhileSomeCanNotBeAsked() {
    var old = inventory("P", "M")
    old.gpus[0].kind = .divided
    old.gpus[1].kind = .slice(of: "P", gpuInstance: 1, computeInstance: 0)
    let general = InventoryProblem(subject: "nvmlInit_v2", code: 999, text: "Unknown Error")
    #expect(inventory(problems: [general]).keeping(old).gpus.map(\.uuid) == ["P", "M"])
    #expect(inventory("P").keeping(old).gpus.map(\.uuid) == ["P"], "slices go with how their GPU is divided")
    old.source = .configured
    #expect(inventory(problems: [general]).keeping(old).gpus.map(\.uuid) == ["P", "M"])
  }
}

/// A machine on which GPUs were met is not taken for one without.
@Suite(.enabled(if: FakeNVML.compiler != nil, "\(FakeNVML.needsCompiler)"))
struct VanishedDriverTests {
  private static let gpu =
    "gpu uuid=GPU-a name=Fake_H100 bus=00000000:41:00.0 minor=4 total=85899345920\nfail nvmlDeviceGetMinorNumber 3\n"

  private func reader(_ fake: FakeNVML) -> InventoryReader {
    InventoryReader(nvmlLibrary: fake.library, kernelDriver: "/nonexistent", root: "/nonexistent")
  }

  @Test func aDriverThatIsUnloadedPutsNothingOnTheCPU() async throws {
    let fake = try await FakeNVML(state: Self.gpu)
    let stage = try Stage("scaling: {min: 1}\n")
    let daemon = try await stage.start(inventory: reader(fake))
    try await stage.running("gpu0")
    try fake.show("fail nvmlInit_v2 9\nfail nvmlDeviceGetCount_v2 1\n")
    await daemon.readGPUs()
    await daemon.readGPUs()
    #expect(stage.journal.count { $0.contains("GPUs and placements: nvmlInit_v2") } == 1)
    try await daemon.reload()
    let status = try await stage.status()
    #expect(status.instances.map(\.id) == ["gpu0"] && status.instances.map(\.state) == [.starting])
    #expect(status.gpus.map(\.uuid) == ["GPU-a"] && status.inventory == .drivers)
    #expect(status.problems.contains { $0.contains("nvmlInit_v2") && $0.contains("modprobe nvidia") })
    #expect(stage.launcher.world.orders == ["start gpu0"])
    try fake.show(Self.gpu)
    await daemon.readGPUs()
    #expect(try await stage.status().problems == [])
    await daemon.stop(instances: .stop)
  }

  @Test func aSupervisorThatFindsNoDriverWhereThereWereGPUsStartsNothingOnTheCPU() async throws {
    let fake = try await FakeNVML(state: Self.gpu)
    let stage = try Stage("scaling: {min: 1}\n")
    let first = try await stage.start(inventory: reader(fake))
    try await stage.running("gpu0")
    await first.stop(instances: .stop)

    let launcher = ScriptedLauncher()
    let second = try await stage.start(launcher, inventory: Stage.noDriver)
    try await stage.tells("there were GPUs on this machine, and there is none now")
    await second.readGPUs()
    #expect(try await stage.status().instances == [] && launcher.world.orders == [])
    #expect(stage.journal.count { $0.contains("there were GPUs on this machine") } == 1)
    // Their owner says that they are gone for good.
    stage.configure("scaling: {min: 1}\ngpus: cpu\n")
    try await second.reload()
    #expect(try await stage.status().instances.map(\.id) == ["cpu0"])
    await second.stop(instances: .stop)
  }

  @Test(arguments: [
    "nvmlEventSetCreate", "nvmlDeviceGetSupportedEventTypes", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2",
  ]) func errorsThatCanNotBeHeardOfAreToldOnceAlsoAfterAReloadThatBringsGPUs(_ call: String) async throws {
    let fake = try await FakeNVML(state: Self.gpu + "fail \(call) 4\n")
    let stage = try Stage("scaling: {min: 0}\ngpus: cpu\n")
    let daemon = try await stage.start(
      inventory: reader(fake), gpuEvents: GPUEventSource(nvmlLibrary: fake.library, retryPause: .milliseconds(20)))
    stage.configure("scaling: {min: 0}\n")
    try await daemon.reload()
    try await eventually(within: patience, "it is told") {
      await daemon.readGPUs()
      return stage.journal.contains { $0.contains(call) }
    }
    await daemon.readGPUs()
    #expect(stage.journal.count { $0.contains("so that XID errors are not heard of") } == 1)
    #expect(try await stage.status().problems.contains { $0.contains("XID errors are not heard of") })
    try fake.show(Self.gpu)
    try await eventually(within: patience, "it is over") {
      await daemon.readGPUs()
      return await daemon.plan.driverTroubles.isEmpty
    }
    await daemon.stop(instances: .stop)
  }

  private static let two =
    gpu
    + gpu.split(separator: "\n")[0]
    .replacing("GPU-a", with: "GPU-b").replacing("41:", with: "81:") + "\n"

  @Test func aDriverThatCanNotBeAskedIsToldAtOnceAlsoWherePlacementsAreListed() async throws {
    let fake = try await FakeNVML(state: Self.two)
    let stage = try Stage("scaling: {min: 1}\nplacements: [{gpus: [0]}, {gpus: [1]}]\n")
    let daemon = try await stage.start(inventory: reader(fake))
    func told() -> Int { stage.journal.count { $0.contains("GPUs and placements: nvmlInit_v2") } }
    for time in 1...2 {
      try fake.show("fail nvmlInit_v2 18\nfail nvmlDeviceGetCount_v2 18\n")
      await daemon.readGPUs()
      try await eventually(within: patience, "it is told") { told() == time }
      await daemon.readGPUs()
      #expect(try await stage.status().instances.map(\.id) == ["gpu0", "gpu1"])
      try fake.show(Self.two)
      await daemon.readGPUs()
      #expect(try await stage.status().problems == [])
    }
    await daemon.stop(instances: .stop)
    #expect(told() == 2)
  }

  @Test func aListOfGPUsIsCountedAsBeforeWhileItsDriverHangs() async throws {
    let fake = try await FakeNVML(state: Self.two)
    let stage = try Stage("scaling: {min: 1}\n")
    let first = try await stage.start(inventory: reader(fake))
    #expect(try await stage.status().gpus.map { "\($0.number) \($0.uuid)" } == ["0 GPU-a", "1 GPU-b"])
    await first.stop(instances: .stop)

    stage.configure(
      "scaling: {min: 1}\ngpus: [{uuid: GPU-b}, {uuid: GPU-a}]\nplacements: [{id: x, gpus: [0]}, {id: y, gpus: [1]}]\n")
    let second = try await stage.start(ScriptedLauncher(), inventory: reader(fake), gpuPatience: .milliseconds(200))
    let places = await second.plan.placements.sites.map { "\($0.id): \($0.gpus.map(\.uuid))" }
    #expect(places == ["x: [\"GPU-b\"]", "y: [\"GPU-a\"]"])
    let release = try fake.hang()
    await second.readGPUs()
    #expect(await second.plan.placements.sites.map { "\($0.id): \($0.gpus.map(\.uuid))" } == places)
    #expect(await second.plan.inventory.source == .configured)
    try await stage.tells("the driver has not answered within 0.2 s")
    try release()
    await second.stop(instances: .stop)
  }

  @Test func aListOfGPUsAndSlicesStaysAsItWasWhileItsDriverCanNotBeAsked() async throws {
    let state = Self.gpu + "gpu uuid=GPU-m bus=00000000:61:00.0 mig=1\nmig gpu=1 index=0 uuid=MIG-x gi=7 ci=0\n"
    let fake = try await FakeNVML(state: state)
    let list = "gpus: [{uuid: MIG-x}, {uuid: GPU-a}]\n"
    let stage = try Stage(list + "scaling: {min: 1}\n")
    let daemon = try await stage.start(inventory: reader(fake))
    let places = await daemon.plan.placements.sites.map(\.id.name)
    #expect(places == ["gpu0.7", "gpu1"])
    try await eventually(within: patience, "one runs") { stage.launcher.world.units.count == 1 }
    let orders = stage.launcher.world.orders
    try fake.show("fail nvmlInit_v2 18\nfail nvmlDeviceGetCount_v2 18\n")
    await daemon.readGPUs()
    #expect(await daemon.plan.placements.sites.map(\.id.name) == places)
    // A second one would find no GPU.
    stage.configure(list + "scaling: {min: 2}\n")
    try await daemon.reload()
    let since = await daemon.ticks
    try await eventually(within: patience, "two ticks") { await daemon.ticks >= since + 2 }
    #expect(stage.launcher.world.orders == orders)
    let status = try await stage.status()
    #expect(status.problems.filter { $0.contains("nvmlInit_v2") }.count == 1, "\(status.problems)")
    try fake.show(state)
    await daemon.readGPUs()
    try await eventually(within: patience, "both run") { stage.launcher.world.units.count == 2 }
    await daemon.stop(instances: .stop)
    #expect(stage.launcher.world.violations == [])
  }

  @Test func aPoolThatNeverMetAGPUUsesTheCPU() async throws {
    let stage = try Stage("scaling: {min: 1}\n")
    let daemon = try await stage.start(inventory: Stage.noDriver)
    try await stage.running("cpu0")
    #expect(try await stage.status().problems == [])
    await daemon.stop(instances: .stop)
  }
}
