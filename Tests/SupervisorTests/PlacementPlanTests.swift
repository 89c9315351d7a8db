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
    let configuration = try ConfigurationReader.read(text: text, name: "test.yaml")
    return (try PlacementPlan(configuration, inventory: inventory, numbering: &numbering), numbering)
  }

  private func nvml(_ uuids: String...) -> Inventory {
    Inventory(source: .drivers, gpus: uuids.enumerated().map { GPU(index: $0, uuid: $1, vendor: .nvidia) })
  }

  private func names(_ plan: PlacementPlan) -> [String] {
    plan.sites.map { "\($0.id): \($0.gpus.map(\.uuid).joined(separator: " "))" }
  }

  @Test func oneForEachGPUAndOneOnTheCPUWithoutAny() throws {
    #expect(names(try plan("", nvml("A", "B")).plan) == ["gpu0: A", "gpu1: B"])
    #expect(names(try plan("", Inventory(source: .cpu)).plan) == ["cpu0: "])
    #expect(names(try plan("", Inventory(source: .drivers)).plan) == [])
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
      made.plan.leftOut.map(\.problem.description) == [
        "test.yaml:1:34: placements[1].gpus: 1 is not there; expected GPUs that `ollama-pool gpus` shows"
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

  @Test func aContradictionIsNamedByItsPlaceInTheFileAlsoBehindAPlacementThatIsLeftOut() throws {
    let error = try #require(throws: ConfigurationError.self) {
      try plan("placements:\n- {gpus: [7]}\n- {id: a, gpus: [0]}\n- {id: b, gpus: [1, A]}\n", nvml("A", "B"))
    }
    #expect(
      error.description
        == "test.yaml:4:21: placements[2].gpus[1]: A is also used by placements[1]; "
        + "expected a GPU of its own, or shared: true on both")
  }

  @Test func placesMayBeMissingOnlyWhereAGPUCouldNotBeAsked() throws {
    func areAll(_ text: String, _ problem: InventoryProblem) throws -> Bool {
      var inventory = nvml("A", "B")
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
