package import GPUInventory
import Launching
package import PoolConfiguration
import PoolCore

/// What may run where: the settings, held against the GPUs that there are.
struct PlacementPlan: Sendable {
  /// One instance's place.
  struct Site: Sendable {
    var id: InstanceID
    /// Empty: the CPU.
    var gpus: [GPU]
    var slots: Int
    /// Whether its GPUs may have other instances.
    var isShared = false
    /// Variables of this instance alone.
    var environment: [String: String]
  }

  /// In the order of their ports.
  private(set) var sites: [Site]
  /// The pool's numbers of the GPUs there are, by UUID.
  let numbers: [String: Int]
  /// A placement that names a GPU which is not there.
  struct LeftOut: Sendable {
    var missing: [GPUReference]
    var problem: ConfigurationProblem
  }

  private(set) var leftOut: [LeftOut] = []
  /// False where a place may be missing only because its GPU could not be asked.
  var areAll: Bool { !mayHideGPUs || isByHand && leftOut.isEmpty }
  private let mayHideGPUs: Bool
  private let isByHand: Bool

  /// - Parameter numbering: learns the GPUs that are new.
  /// - Throws: where placements contradict each other. One whose GPU is not there is only left out: the others must not
  ///   suffer for it.
  init(
    _ configuration: LoadedConfiguration, inventory: Inventory, numbering: inout GPUNumbering
  ) throws(ConfigurationError) {
    let settings = configuration.settings
    var inventory = inventory
    mayHideGPUs = inventory.mayHideGPUs
    isByHand = settings.placements != .auto
    let lost = Set(inventory.problems.filter(\.isGPULost).compactMap(\.gpu))
    if inventory.source == .drivers { numbering.add(inventory.gpus.map(\.uuid)) }
    numbers = Self.numbers(of: inventory, numbering)
    // On a divided GPU only its slices can be used.
    inventory.gpus = inventory.gpus.filter { !lost.contains($0.uuid) && $0.kind != .divided }.sorted { [numbers] in
      numbers[$0.uuid, default: 0] < numbers[$1.uuid, default: 0]
    }
    switch settings.placements {
    case .auto: sites = Self.oneForEach(inventory, slots: settings.slots, numbers)
    case .list(let placements):
      sites = []
      try place(placements, configuration, inventory.gpus)
    }
  }

  /// A configured list is counted by position, as its placements do; what NVML found keeps the number it got first.
  private static func numbers(of inventory: Inventory, _ numbering: GPUNumbering) -> [String: Int] {
    Dictionary(
      inventory.gpus.map { ($0.uuid, (inventory.source == .drivers ? numbering.number(of: $0.uuid) : nil) ?? $0.index) },
      uniquingKeysWith: { first, _ in first })
  }

  private static func oneForEach(_ inventory: Inventory, slots: Int, _ numbers: [String: Int]) -> [Site] {
    guard inventory.source != .cpu else {
      return [Site(id: "cpu0", gpus: [], slots: slots, environment: [:])]
    }
    return inventory.gpus.map { gpu in
      Site(
        id: InstanceID("gpu\(numbers[gpu.uuid, default: gpu.index])"), gpus: [gpu], slots: slots, environment: [:])
    }
  }

  private mutating func place(
    _ placements: [PlacementSettings], _ configuration: LoadedConfiguration, _ gpus: [GPU]
  ) throws(ConfigurationError) {
    let settings = configuration.settings
    let byUUID = Dictionary(gpus.map { ($0.uuid, $0) }) { first, _ in first }
    let byNumber = Dictionary(gpus.map { (numbers[$0.uuid, default: $0.index], $0.uuid) }) { first, _ in first }
    var placed: [PlacementSettings] = []
    for (index, placement) in placements.enumerated() {
      var resolved = placement
      resolved.gpus = placement.gpus.map { reference in
        if case .index(let number) = reference, let uuid = byNumber[number] { .uuid(uuid) } else { reference }
      }
      let found = resolved.gpus.map { reference in
        if case .uuid(let uuid) = reference { byUUID[uuid] } else { nil as GPU? }
      }
      let present = found.compactMap(\.self)
      guard present.count == found.count else {
        let missing = zip(placement.gpus, found).filter { $1 == nil }.map(\.0)
        let key = "placements[\(index)].gpus"
        leftOut.append(
          LeftOut(
            missing: missing,
            problem: ConfigurationProblem(
              at: configuration.positions[key], key: key,
              "\(missing.map(\.description).joined(separator: ", ")) is not there",
              expected: "GPUs that `ollama-pool gpus` shows")))
        // It keeps its position, for the others' names in the file, and contradicts nobody.
        resolved.gpus = []
        placed.append(resolved)
        continue
      }
      let first = present.first.map { numbers[$0.uuid, default: $0.index] } ?? 0
      let id = placement.id ?? "gpu\(first)"
      sites.append(
        Site(
          id: InstanceID(id), gpus: present, slots: placement.slots ?? settings.slots,
          isShared: placement.shared, environment: placement.environment))
      resolved.id = id
      placed.append(resolved)
    }
    try refuseContradictions(of: placed, configuration, gpus)
  }

  private func refuseContradictions(
    of placed: [PlacementSettings], _ configuration: LoadedConfiguration, _ gpus: [GPU]
  ) throws(ConfigurationError) {
    var settings = configuration.settings
    settings.placements = .list(placed)
    let problems = settings.placementProblems(knownGPUs: gpus.map(\.uuid), positions: configuration.positions)
    if !problems.isEmpty { throw ConfigurationError(problems: problems) }
  }
}

extension PlacementPlan {
  /// What each site's instance is started with.
  func specifications(_ settings: Settings, _ ollama: OllamaExecutable) -> [InstanceID: InstanceSpecification] {
    var specifications: [InstanceID: InstanceSpecification] = [:]
    for site in sites {
      specifications[site.id] = InstanceSpecification.make(
        Placement(id: site.id, gpus: site.gpus.map(\.uuid), slots: site.slots), on: site.gpus,
        environment: site.environment, settings: settings, ollama: ollama)
    }
    return specifications
  }

  /// The core's placements. One without a digest keeps what runs there, whatever that is.
  func placements(digests: [InstanceID: String]) -> [Placement] {
    sites.map { site in
      Placement(
        id: site.id, gpus: site.gpus.map(\.uuid), slots: site.slots, isShared: site.isShared,
        specification: digests[site.id] ?? "")
    }
  }
}

extension Inventory {
  /// Whether a GPU may be there that could not be read. One that is lost is not there.
  fileprivate var mayHideGPUs: Bool {
    let read = gpus.map(\.uuid)
    return source == .drivers && problems.contains { !$0.isGPULost && !read.contains($0.gpu ?? "") }
  }
}

extension Settings {
  /// Where the GPUs are to be learnt from.
  package var gpuSource: GPUSource {
    switch gpus {
    case .auto: .automatic
    case .cpu: .cpu
    case .list(let list):
      .configured(
        list.map { gpu in
          ConfiguredGPU(
            uuid: gpu.uuid, name: gpu.name, vendor: gpu.vendor == .amd ? .amd : .nvidia,
            memory: gpu.memory.map { UInt64(clamping: $0.bytes) }, pciAddress: gpu.pci, deviceNodes: gpu.nodes)
        })
    }
  }

  /// What bounds the supervision; what the file has no key for stays the core's.
  var fleetLimits: FleetLimits {
    var limits = FleetLimits()
    limits.startTimeout = health.startTimeout
    limits.unhealthyGrace = health.unhealthyGrace
    limits.restarts.pause = restarts.pause
    limits.restarts.pauseMaximum = restarts.pauseMax
    limits.restarts.quarantineAfter = restarts.quarantineAfter
    limits.restarts.quarantine = restarts.quarantine
    return limits
  }
}
