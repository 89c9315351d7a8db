import Foundation
import GPUInventory
import Launching
import PoolConfiguration
import PoolCore
import TestSupport
import Testing

@testable import Supervisor

/// Settings and GPUs to places.
@Suite struct PlacementPlanTests {
  private func plan(
    _ text: String, _ inventory: Inventory, numbering: GPUNumbering = GPUNumbering()
  ) throws -> (plan: PlacementPlan, numbering: GPUNumbering) {
    var numbering = numbering
    let configuration = try ConfigurationReader.read(text: text, name: "test.yaml")
    return (PlacementPlan(configuration, inventory: inventory, numbering: &numbering), numbering)
  }

  private func drivers(_ uuids: String...) -> Inventory {
    Inventory(source: .drivers, gpus: uuids.enumerated().map { GPU(index: $0, uuid: $1, vendor: .nvidia) })
  }

  private func names(_ plan: PlacementPlan) -> [String] {
    plan.sites.map { "\($0.id): \($0.gpus.map(\.uuid).joined(separator: " "))" }
  }

  @Test func oneForEachGPUAndOneOnTheCPUWithoutAny() throws {
    #expect(names(try plan("", drivers("A", "B")).plan) == ["gpu0: A", "gpu1: B"])
    #expect(names(try plan("", Inventory(source: .cpu)).plan) == ["cpu0: "])
    #expect(names(try plan("", Inventory(source: .drivers)).plan) == [])
  }

  @Test func aNewGPURenamesNone() throws {
    let first = try plan("", drivers("B", "C"))
    let second = try plan("", drivers("A", "B", "C"), numbering: first.numbering)
    #expect(names(second.plan) == ["gpu0: B", "gpu1: C", "gpu2: A"])
    let third = try plan("", drivers("A", "C"), numbering: second.numbering)
    #expect(names(third.plan) == ["gpu1: C", "gpu2: A"])
  }

  @Test func aConfiguredListIsCountedByPosition() throws {
    var inventory = drivers("B", "A")
    inventory.source = .configured
    var numbering = GPUNumbering()
    numbering.add(["A", "B"])
    let made = try plan("gpus: [{uuid: B}, {uuid: A}]\n", inventory, numbering: numbering)
    #expect(names(made.plan) == ["gpu0: B", "gpu1: A"])
  }

  @Test func aSliceInAConfiguredListIsNamedByItsPosition() throws {
    var inventory = drivers("M-3", "A", "M-1")
    inventory.source = .configured
    inventory.gpus[0].kind = .slice(of: "B", gpuInstance: 3, computeInstance: 0)
    inventory.gpus[2].kind = .slice(of: "B", gpuInstance: 1, computeInstance: 0)
    let text = "gpus: [{uuid: M-3}, {uuid: A}, {uuid: M-1}]\n"
    let made = try plan(text + "placements: [{gpus: [2]}, {gpus: [0]}, {gpus: [1]}]\n", inventory).plan
    #expect(names(made) == ["gpu2.1: M-1", "gpu0.3: M-3", "gpu1: A"] && made.leftOut.isEmpty)
  }

  @Test func explicitPlacementsNameGPUsByNumberOrUUID() throws {
    let made = try plan(
      "slots: 2\nplacements: [{id: big, gpus: [0, B], slots: 4}, {gpus: [2], environment: {A: 1}}]\n",
      drivers("A", "B", "C"))
    #expect(names(made.plan) == ["big: A B", "gpu2: C"])
    #expect(made.plan.sites.map(\.settings.slots) == [4, nil] && made.plan.sites[1].settings.environment == ["A": "1"])
  }

  @Test func aPlacementWhoseGPUIsAwayIsLeftOutAlone() throws {
    var numbering = GPUNumbering()
    numbering.add(["A", "B", "C"])
    let made = try plan(
      "placements: [{gpus: [0]}, {gpus: [1]}, {gpus: [2]}]\n", drivers("A", "C"), numbering: numbering)
    #expect(names(made.plan) == ["gpu0: A", "gpu2: C"])
    #expect(
      made.plan.leftOut.map(\.problem.description) == [
        "test.yaml:1:34: placements[1].gpus: 1 is not there; expected GPUs that `ollama-pool gpus` shows"
      ])
  }

  @Test func aLostGPUKeepsItsPlaceSoThatItIsSaidOfIt() throws {
    var inventory = drivers("A", "B")
    inventory.problems = [InventoryProblem(gpu: "A", subject: "nvml", code: 15, text: "GPU is lost")]
    #expect(names(try plan("", inventory).plan) == ["gpu0: A", "gpu1: B"])
  }

  @Test func whatAGPUIsPinnedWithIsNotCertainWhereItsDriverFailsToTellIt() throws {
    var inventory = drivers("A", "B", "C")
    for index in 0...1 {
      (inventory.gpus[index].deviceNodes, inventory.gpus[index].pciAddress) = (["/dev/nvidia\(index)"], "0000:01:00.0")
    }
    inventory.problems = ["B", "C"].map {
      InventoryProblem(gpu: $0, subject: "nvmlDeviceGetMinorNumber", code: 999, text: "Unknown Error")
    }
    func plan(program: String) throws -> (specifications: [InstanceID: InstanceSpecification], digests: [String]) {
      let configuration = try ConfigurationReader.read(text: "", name: "test.yaml")
      var numbering = GPUNumbering()
      let plan = PlacementPlan(configuration, inventory: inventory, numbering: &numbering)
      let specifications = plan.specifications(
        configuration.settings, try OllamaExecutable.find(setting: program, .allowed),
        store: .resolve(setting: nil, user: .own, home: "/nonexistent", environment: [:], service: nil))
      let placements = plan.placements(configuration.settings, digests: plan.digests(of: specifications))
      return (specifications, placements.map(\.specification))
    }
    let folder = try TemporaryDirectory()
    let program = try folder.write("#!/bin/sh\n", to: "ollama", permissions: 0o755)
    let first = try plan(program: program)
    // B was told before.
    #expect(first.digests[0] == first.specifications["gpu0"]?.digest)
    #expect(first.digests[1] == first.specifications["gpu1"]?.digest)
    #expect(first.digests[2] == first.specifications["gpu2"]?.digest(.withoutPins))
    // Of C is known by now what it is pinned with, and an upgrade reaches it all the same.
    inventory.gpus[2].deviceNodes = ["/dev/nvidia2"]
    let second = try plan(program: program)
    #expect(second.digests[2] == second.specifications["gpu2"]?.digest(.pinned))
    #expect(second.digests[2].hasPrefix(first.digests[2]) && second.digests[..<2] == first.digests[..<2])
    try folder.write("#!/bin/sh\n# a new version\n", to: "ollama", permissions: 0o755)
    let upgraded = try plan(program: program)
    for index in 0...2 { #expect(upgraded.digests[index] != first.digests[index]) }
    // Once all is told again it is the whole.
    inventory.problems = []
    let certain = try plan(program: program)
    #expect(certain.digests[2] == certain.specifications["gpu2"]?.digest)
    #expect(certain.digests[2].hasPrefix(upgraded.digests[2]) && certain.digests[2] != upgraded.digests[2])
  }

  @Test func whereOnlyWhatIsNearAGPUIsNotToldTheRestIsCertain() throws {
    var inventory = Inventory(source: .configured, gpus: [GPU(index: 0, uuid: "A", vendor: .nvidia)])
    inventory.problems = [InventoryProblem(gpu: "A", subject: "libnvidia-ml.so.1", text: "is not there")]
    #expect(try plan("gpus: [{uuid: A}]\n", inventory).plan.sites.map(\.certainty) == [.withoutPins])
    inventory.gpus[0].deviceNodes = ["/dev/nvidia0"]
    #expect(try plan("gpus: [{uuid: A, nodes: [/dev/nvidia0]}]\n", inventory).plan.sites.map(\.certainty) == [.pinned])
    inventory.gpus[0].pciAddress = "0000:01:00.0"
    #expect(try plan("gpus: [{uuid: A}]\n", inventory).plan.sites.map(\.certainty) == [.all])
  }

  @Test func numbersThatASupervisorStoredAreReadWithoutTakingItsFolder() async throws {
    let folder = try TemporaryDirectory()
    #expect(GPUNumbering.stored(in: folder.path) == GPUNumbering())
    let state = try await StateDirectory.take(folder.path)
    var numbering = GPUNumbering()
    numbering.add(["A", "B"])
    state.store(numbering, as: .numbers) { _ in }
    state.flush()
    #expect(GPUNumbering.stored(in: folder.path).number(of: "B") == 1)
    try folder.write("{", to: "gpu-numbers.json")
    #expect(GPUNumbering.stored(in: folder.path) == GPUNumbering())
    #expect(FileManager.default.fileExists(atPath: folder.path(to: "gpu-numbers.json")))
    state.close()
  }

  private func divided() -> Inventory {
    var inventory = drivers("A", "B", "M-3", "M-1", "C")
    inventory.gpus[1].kind = .divided
    inventory.gpus[2].kind = .slice(of: "B", gpuInstance: 3, computeInstance: 0)
    inventory.gpus[3].kind = .slice(of: "B", gpuInstance: 1, computeInstance: 2)
    return inventory
  }

  @Test func eachSliceOfADividedGPUIsAPlaceOfItsOwn() throws {
    #expect(names(try plan("", divided()).plan) == ["gpu0: A", "gpu1.1.2: M-1", "gpu1.3: M-3", "gpu2: C"])
    let grouped = try plan("gpus_per_instance: 2\n", divided()).plan
    #expect(names(grouped) == ["gpu0: A C"] && grouped.sites[0].reason == "in one machine")
    #expect(
      grouped.remarks.map(\.what) == ["MIG slices stay unused: a process can use one, and gpus_per_instance is 2"])
    var empty = divided()
    empty.gpus.removeSubrange(2...3)
    #expect(try plan("", empty).plan.remarks.map(\.what) == ["GPU 1 is in MIG mode and has no slices"])
  }

  @Test(arguments: [
    ("placements: [{gpus: [1]}, {gpus: [0]}]", "B is divided into MIG slices; expected one of M-1, M-3"),
    ("placements: [{gpus: [B, M-1]}, {gpus: [0]}]", "B is divided into MIG slices"),
    ("placements: [{gpus: [M-1, C]}, {gpus: [0]}]", "has a MIG slice beside others"),
    ("placements: [{gpus: [M-9]}, {gpus: [0]}]", "M-9 is not there"),
  ]) func whatCannotBeIsLeftOutAndTheOthersGoOn(_ text: String, _ problem: String) throws {
    let made = try plan(text, divided()).plan
    #expect(names(made) == ["gpu0: A"])
    #expect(made.leftOut.count == 1 && made.leftOut[0].problem.description.contains(problem), "\(made.leftOut)")
  }

  @Test func aSliceIsUsedBesideAPlacementThatNamesItsGPU() throws {
    let made = try plan("placements: [{id: whole, gpus: [1]}, {id: slice, gpus: [M-1]}]", divided()).plan
    #expect(names(made) == ["slice: M-1"])
    #expect(made.leftOut.map(\.problem.description).allSatisfy { $0.contains("B is divided into MIG slices") })
  }

  @Test func modelsHaveTheNamesByWhichTheDispatcherTellsOfThem() throws {
    let text = "placements: [{gpus: [0], models: [Llama3, library/qwen3, registry.ollama.ai/u/m:7B]}]"
    let (made, _) = try plan(text, drivers("A"))
    #expect(made.placements(Settings(), digests: [:]).first?.models == ["llama3:latest", "qwen3:latest", "u/m:7b"])
  }

  @Test func whereOllamaWouldGiveTheSameQuestionRoomsOfDifferentSizesThatIsSaid() throws {
    var inventory = drivers("A", "B", "C")
    // Two cards of 24 GB never have quite the same.
    for (index, memory) in [24 << 30, 23 << 30, 80 << 30 as UInt64].enumerated() {
      inventory.gpus[index].memoryTotal = memory
    }
    let said = "the same question has room for 32768 tokens on gpu0 and for 262144 on gpu2"
    func remarks(_ text: String) throws -> [String] { try plan(text, inventory).plan.remarks.map(\.what) }
    #expect(try remarks("") == ["\(said): Ollama decides by the GPU's memory"])
    #expect(try remarks("context_length: 8192\n") == [])
    #expect(try remarks("placements: [{gpus: [0]}, {gpus: [1]}]\n") == [])
    #expect(try remarks("placements: [{gpus: [0]}, {gpus: [2], context_length: 32768}]\n") == [])
    #expect(try remarks("placements: [{gpus: [0], models: [a]}, {gpus: [2], models: [b]}]\n") == [])
    #expect(try remarks("placements: [{gpus: [0], models: [a]}, {gpus: [2], models: ['b', 'a:latest']}]\n").count == 1)
    #expect(try remarks("placements: [{gpus: [0], models: [a]}, {gpus: [2]}]\n").count == 1)
    // What is settled for a model holds everywhere.
    #expect(
      try remarks("models: {a: {num_ctx: 8192}}\nplacements: [{gpus: [0], models: [a]}, {gpus: [2]}]\n") == [])
    #expect(try remarks("models: {a: {num_ctx: 8192}}\n").count == 1)
    // Together they have 47.
    #expect(try remarks("placements: [{id: gpu0, gpus: [0, 1]}, {gpus: [2]}]\n") == [])
    inventory.gpus[0].memoryTotal = nil
    #expect(try remarks("placements: [{gpus: [0]}, {gpus: [2]}]\n") == [])
  }

  @Test func whatItsModelsNeedMustFit() throws {
    var inventory = drivers("A", "B")
    for index in 0...1 { inventory.gpus[index].memoryTotal = 24 << 30 }
    let made = try plan(
      "preload: [a, b]\nmodels: {a: {gpu_memory: 20GiB}, b: {gpu_memory: 6GiB}}\n"
        + "placements: [{id: both, gpus: [0]}, {id: one, gpus: [1], models: [a]}]", inventory
    ).plan
    #expect(names(made) == ["one: B"])
    #expect(made.leftOut.first?.problem.description.contains("needs 26GiB") == true, "\(made.leftOut)")
  }

  @Test func whatNeedsMoreMemoryThanThereIsIsLeftOut() throws {
    var inventory = drivers("A", "B")
    for index in 0...1 { inventory.gpus[index].memoryTotal = 24 << 30 }
    let made = try plan("placements: [{gpus: [0], gpu_memory: 25GiB}, {gpus: [1], gpu_memory: 24GiB}]", inventory).plan
    #expect(names(made) == ["gpu1: B"])
    #expect(made.leftOut[0].problem.description.contains("needs 25GiB of GPU memory, and its GPUs have 24GiB"))
  }

  @Test func aPlacementThatIsLeftOutTakesNothingFromThoseAfterIt() throws {
    var inventory = drivers("A")
    inventory.gpus[0].memoryTotal = 80 << 30
    let made = try plan(
      "placements: [{id: a, gpus: [0], shared: true, gpu_memory: 800GiB}, "
        + "{id: b, gpus: [0], shared: true, gpu_memory: 40GiB}]", inventory
    ).plan
    #expect(names(made) == ["b: A"] && made.leftOut.count == 1)
  }

  @Test func anInstanceIsBoundOnlyWhereTheCPUsBesideAllItsGPUsAreKnown() throws {
    func cpus(_ known: [[Int]?], _ nodes: [Int?]) throws -> (cpus: [Int], nodes: [Int]) {
      var inventory = drivers("A", "B")
      for index in 0...1 {
        inventory.gpus[index].localCPUs = known[index].map { CPUSet($0) }
        inventory.gpus[index].numaNode = nodes[index]
      }
      let configuration = try ConfigurationReader.read(text: "gpus_per_instance: 2\n", name: "test.yaml")
      var numbering = GPUNumbering()
      let made = PlacementPlan(configuration, inventory: inventory, numbering: &numbering).specifications(
        configuration.settings,
        OllamaExecutable(path: "/o", kind: .ollama, identity: .init(size: 1, modified: 1, inode: 1)),
        store: .resolve(setting: "/", user: .own, home: "/", environment: [:], service: nil))
      let specification = try #require(made["gpu0"])
      return (specification.cpus, specification.numaNodes)
    }
    #expect(try cpus([[0], [1]], [0, 1]) == ([0, 1], [0, 1]))
    #expect(try cpus([[0], [0]], [0, 0]) == ([0], [0]))
    #expect(try cpus([[0], nil], [0, nil]) == ([], []))
    #expect(try cpus([nil, [1]], [0, 0]) == ([], [0]))
  }

  @Test func ofADividedGPUWhoseSlicesAreNotListedTheSlicesAreNamed() throws {
    var inventory = Inventory(source: .configured, gpus: [GPU(index: 0, uuid: "B", vendor: .nvidia)])
    inventory.gpus[0].kind = .divided
    inventory.gpus[0].slices = ["M-1", "M-3"]
    let made = try plan("gpus: [{uuid: B}]\n", inventory).plan
    #expect(made.sites.isEmpty)
    #expect(
      made.remarks.map(\.description) == [
        "GPU 0 is divided into MIG slices, which the key gpus does not list: list them instead of it: M-1, M-3"
      ])
  }

  @Test(arguments: [
    "placements: [{id: a, gpus: [0]}, {id: b, gpus: [A]}]\n",
    "placements: [{gpus: [0, A]}]\n",
    "placements: [{id: gpu1, gpus: [A]}, {gpus: [B]}]\n",
  ]) func ofPlacementsThatContradictEachOtherOneIsLeftOut(_ text: String) throws {
    let made = try plan(text, drivers("A", "B")).plan
    #expect(made.leftOut.count == 1 && made.leftOut[0].missing.isEmpty)
  }

  @Test func aContradictionIsNamedByItsPlaceInTheFileAlsoBehindAPlacementThatIsLeftOut() throws {
    let made = try plan(
      "placements:\n- {gpus: [7]}\n- {id: a, gpus: [0]}\n- {id: b, gpus: [1, A]}\n", drivers("A", "B")
    ).plan
    #expect(names(made) == ["a: A"])
    #expect(
      made.leftOut.last?.problem.description
        == "test.yaml:4:21: placements[2].gpus[1]: A is also used by placements[1]; "
        + "expected a GPU of its own, or shared: true on both")
  }

  @Test func placesMayBeMissingOnlyWhereAGPUCouldNotBeAsked() throws {
    func areAll(_ text: String, _ problem: InventoryProblem) throws -> Bool {
      var inventory = drivers("A", "B")
      inventory.problems = [problem]
      return try plan(text, inventory).plan.areAll
    }
    let mismatch = InventoryProblem(subject: "nvmlInit_v2", code: 18, text: "driver/library version mismatch")
    let unread = InventoryProblem(gpu: "GPU 2", subject: "nvmlDeviceGetUUID", code: 999, text: "unknown error")
    #expect(try !areAll("", mismatch) && !areAll("", unread))
    #expect(try areAll("", InventoryProblem(gpu: "A", subject: "nvmlDeviceGetName", code: 999, text: "unknown error")))
    #expect(try areAll("", InventoryProblem(gpu: "GPU 2", subject: "nvmlDeviceGetUUID", code: 15, text: "lost")))
    // What the file names and what is there is all there is.
    #expect(try areAll("placements: [{gpus: [0]}]\n", unread) && !areAll("placements: [{gpus: [2]}]\n", unread))
  }
}
