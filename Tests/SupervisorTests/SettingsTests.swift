import GPUInventory
import Launching
import PoolConfiguration
import PoolCore
import Testing

@testable import Supervisor

/// What the configuration says, where it takes effect.
@Suite struct SettingsTests {
  /// Two GPUs, each on a NUMA node of its own.
  private func specifications(_ text: String) throws -> ([InstanceID: InstanceSpecification], [Placement]) {
    var inventory = Inventory(
      source: .drivers, gpus: ["A", "B"].enumerated().map { GPU(index: $0, uuid: $1, vendor: .nvidia) })
    for index in 0...1 {
      inventory.gpus[index].localCPUs = CPUSet([index])
      inventory.gpus[index].numaNode = index
    }
    let configuration = try ConfigurationReader.read(text: text, name: "test.yaml")
    var numbering = GPUNumbering()
    let plan = PlacementPlan(configuration, inventory: inventory, numbering: &numbering)
    let specifications = plan.specifications(
      configuration.settings,
      OllamaExecutable(path: "/o", kind: .ollama, identity: .init(size: 1, modified: 1, inode: 1)),
      store: .resolve(setting: "/", user: .own, home: "/", environment: [:], service: nil))
    return (specifications, plan.placements(configuration.settings, digests: [:]))
  }

  @Test func whatHoldsForOnePlacementWinsOverWhatHoldsForAll() throws {
    let (made, placements) = try specifications(
      """
      context_length: 8192
      keep_alive: 10m
      slots: 2
      gpu_memory: 4GiB
      environment: {A: all, B: all}
      placements:
        - {gpus: [0], context_length: 4096, keep_alive: forever, slots: 3, gpu_memory: 1GiB, environment: {B: one}}
        - {gpus: [1]}
      """)
    let (first, second) = (try #require(made["gpu0"]), try #require(made["gpu1"]))
    #expect(first.contextLength == 4096 && first.keepAlive == .forever && first.slots == 3)
    #expect(first.extraEnvironment["A"] == "all" && first.extraEnvironment["B"] == "one")
    #expect(second.contextLength == 8192 && second.keepAlive == .duration(.seconds(600)) && second.slots == 2)
    #expect(second.extraEnvironment["B"] == "all")
    #expect(placements.map(\.slots) == [3, 2] && placements.map(\.neededMemory) == [1 << 30, 4 << 30])
  }

  @Test func oneKeyLeavesCPUsAndMemoryAlone() throws {
    let bound = try specifications("").0
    #expect(bound["gpu1"]?.cpus == [1] && bound["gpu1"]?.numaNodes == [1])
    let free = try specifications("numa_binding: false\n").0
    #expect(free.values.allSatisfy { $0.cpus == [] && $0.numaNodes == [] } && free.count == 2)
  }

  @Test func whatBoundsTheSupervisionIsAsConfigured() throws {
    let settings = try ConfigurationReader.read(
      text: """
        preload: [Llama3.2]
        read_ahead: false
        allow_cpu: true
        busy_memory: 3GiB
        yield_to_others: true
        yield_after: 7s
        health: {start_timeout: 11m, unhealthy_grace: 9s}
        restarts: {pause: 2s, pause_max: 3s, quarantine_after: 4, quarantine: 5m}
        """, name: "test.yaml"
    ).settings
    var limits = FleetLimits()
    limits.preload = ["llama3.2:latest"]
    limits.allowCPU = true
    limits.busyMemory = 3 << 30
    (limits.yieldToOthers, limits.yieldAfter) = (true, .seconds(7))
    (limits.startTimeout, limits.unhealthyGrace) = (.seconds(660), .seconds(9))
    (limits.restarts.pause, limits.restarts.pauseMaximum) = (.seconds(2), .seconds(3))
    (limits.restarts.quarantineAfter, limits.restarts.quarantine) = (4, .seconds(300))
    #expect(settings.fleetLimits == limits)
    limits = FleetLimits()
    limits.readsAhead = true
    #expect(Settings().fleetLimits == limits)
  }
}
