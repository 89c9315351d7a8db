import GPUInventory
import PoolConfiguration
import PoolCore
import Testing

@testable import Supervisor

/// Settings and GPUs to places.
@Suite struct PlacementPlanTests {
  private func plan(
    _ text: String, _ inventory: Inventory, numbering: GPUNumbering = GPUNumbering()
  ) throws -> (plan: PlacementPlan, numbering: GPUNumbering) {
    var numbering = numbering
    let settings = try ConfigurationReader.read(text: text, name: "test.yaml").settings
    return (try PlacementPlan(settings: settings, inventory: inventory, numbering: &numbering), numbering)
  }

  private func nvml(_ uuids: String...) -> Inventory {
    Inventory(source: .nvml, gpus: uuids.enumerated().map { GPU(index: $0, uuid: $1, vendor: .nvidia) })
  }

  private func names(_ plan: PlacementPlan) -> [String] {
    plan.sites.map { "\($0.id): \($0.gpus.map(\.uuid).joined(separator: " "))" }
  }

  @Test func oneForEachGPUAndOneOnTheCPUWithoutAny() throws {
    #expect(names(try plan("", nvml("A", "B")).plan) == ["gpu0: A", "gpu1: B"])
    #expect(names(try plan("", Inventory(source: .cpu)).plan) == ["cpu0: "])
    #expect(names(try plan("", Inventory(source: .nvml)).plan) == [])
  }

  @Test func aNewGPURenamesNone() throws {
    let first = try plan("", nvml("B", "C"))
    let second = try plan("", nvml("A", "B", "C"), numbering: first.numbering)
    #expect(names(second.plan) == ["gpu0: B", "gpu1: C", "gpu2: A"])
    let third = try plan("", nvml("A", "C"), numbering: second.numbering)
    #expect(names(third.plan) == ["gpu1: C", "gpu2: A"])
  }

  @Test func aConfiguredListIsCountedByPosition() throws {
    var inventory = nvml("B", "A")
    inventory.source = .configured
    var numbering = GPUNumbering()
    numbering.add(["A", "B"])
    let made = try plan("gpus: [{uuid: B}, {uuid: A}]\n", inventory, numbering: numbering)
    #expect(names(made.plan) == ["gpu0: B", "gpu1: A"])
  }

  @Test func explicitPlacementsNameGPUsByNumberOrUUID() throws {
    let made = try plan(
      "slots: 2\nplacements: [{id: big, gpus: [0, B], slots: 4}, {gpus: [2], environment: {A: 1}}]\n",
      nvml("A", "B", "C"))
    #expect(names(made.plan) == ["big: A B", "gpu2: C"])
    #expect(made.plan.sites.map(\.slots) == [4, 2] && made.plan.sites[1].environment == ["A": "1"])
  }

  @Test func aPlacementWhoseGPUIsAwayIsLeftOutAlone() throws {
    var numbering = GPUNumbering()
    numbering.add(["A", "B", "C"])
    let made = try plan("placements: [{gpus: [0]}, {gpus: [1]}, {gpus: [2]}]\n", nvml("A", "C"), numbering: numbering)
    #expect(names(made.plan) == ["gpu0: A", "gpu2: C"])
    #expect(
      made.plan.leftOut.map(\.description) == [
        "placements[1].gpus: 1 is not there; expected GPUs that `ollama-pool gpus` shows"
      ])
  }

  @Test func aLostGPUIsPassedOver() throws {
    var inventory = nvml("A", "B")
    inventory.problems = [InventoryProblem(gpu: "A", subject: "nvml", code: 15, text: "GPU is lost")]
    #expect(names(try plan("", inventory).plan) == ["gpu1: B"])
  }

  @Test(arguments: [
    "placements: [{id: a, gpus: [0]}, {id: b, gpus: [A]}]\n",
    "placements: [{gpus: [0, A]}]\n",
    "placements: [{id: gpu1, gpus: [0]}, {gpus: [1]}]\n",
  ]) func placementsThatContradictEachOtherAreRefused(_ text: String) throws {
    #expect(throws: ConfigurationError.self) { try plan(text, nvml("A", "B")) }
  }
}
