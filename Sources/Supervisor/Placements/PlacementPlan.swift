package import GPUInventory
import Launching
package import PoolConfiguration
package import PoolCore

/// What may run where: the settings, held against the GPUs that there are.
package struct PlacementPlan: Sendable {
  /// One instance's place.
  package struct Site: Sendable {
    package var id: InstanceID
    /// Empty: the CPU.
    package var gpus: [GPU]
    /// What holds for this instance alone.
    var settings: PlacementSettings
    /// Why it has these GPUs, and not others; nil where the file says so, or it has one alone.
    package var reason: String?
    /// What of its specification drivers tell for certain.
    var certainty = InstanceSpecification.Certainty.all
  }

  /// A placement that can't be, and is left out: the others must not suffer for it.
  package struct LeftOut: Sendable {
    /// GPUs that it names and that are not there; empty where it is wrong in itself.
    var missing: [GPUReference]
    package var problem: ConfigurationProblem
  }

  /// What hardly anybody wants, and hinders nothing: GPUs that no placement has, instances that answer differently.
  package struct Remark: Equatable, Sendable, CustomStringConvertible {
    package var what: String
    package var remedy: String

    package var description: String { "\(what): \(remedy)" }
  }

  /// In the order of their ports.
  package private(set) var sites: [Site]
  /// How people call the GPUs there are, by UUID.
  let labels: GPULabels
  package private(set) var leftOut: [LeftOut] = []
  package private(set) var remarks: [Remark] = []
  /// False where a place may be missing only because its GPU could not be asked.
  var areAll: Bool { !mayHideGPUs || isByHand && leftOut.isEmpty }
  private let mayHideGPUs: Bool
  private let isByHand: Bool

  /// - Parameter numbering: learns the GPUs that are new.
  package init(_ configuration: LoadedConfiguration, inventory: Inventory, numbering: inout GPUNumbering) {
    let settings = configuration.settings
    mayHideGPUs = inventory.source == .drivers && inventory.incompleteness != nil
    isByHand = settings.placements != .auto
    if inventory.source == .drivers { numbering.add(inventory.gpus.filter { !$0.isSlice }.map(\.uuid)) }
    labels = GPULabels(inventory, numbering)
    let gpus = inventory.gpus.sorted { [labels] in labels.order($0) < labels.order($1) }
    sites = []
    switch settings.placements {
    case .auto where inventory.source == .cpu:
      sites = [Site(id: "cpu0", gpus: [], settings: PlacementSettings(gpus: []))]
    case .auto: placeAll(gpus, inGroupsOf: settings.gpusPerInstance)
    case .list(let placements): place(placements, configuration, gpus, isListed: inventory.source == .configured)
    }
    let failing = Set(inventory.problems.compactMap(\.gpu))
    for index in sites.indices {
      let doubtful = sites[index].gpus.filter { failing.contains($0.uuid) }
      if doubtful.contains(where: \.deviceNodes.isEmpty) {
        sites[index].certainty = .withoutPins
      } else if doubtful.contains(where: { $0.pciAddress == nil }) {
        sites[index].certainty = .pinned
      }
    }
    tellDivided(gpus)
    remarks += [contextRemark(settings)].compactMap(\.self)
  }

  // MARK: What the pool finds itself

  private mutating func placeAll(_ gpus: [GPU], inGroupsOf size: Int) {
    let byUUID = Dictionary(gpus.map { ($0.uuid, $0) }) { first, _ in first }
    let whole = gpus.filter { $0.kind == .whole }
    let groups = GPUGroups(
      whole.map {
        GPULocation(uuid: $0.uuid, number: labels.number(of: $0), numaNode: $0.numaNode, pciPath: $0.pciPath)
      }, of: size)
    for group in groups.groups {
      let members = group.gpus.compactMap { byUUID[$0] }
      sites.append(site(of: members, reason: size > 1 ? group.reason : nil))
    }
    remarks += [groups.problem].compactMap(\.self).map {
      Remark(what: $0, remedy: "set gpus_per_instance to a divisor of their number, or list placements")
    }
    let slices = gpus.filter(\.isSlice)
    if size == 1 {
      sites += slices.map { site(of: [$0], reason: nil) }
    } else if !slices.isEmpty {
      remarks.append(
        Remark(
          what: "MIG slices stay unused: a process can use one, and gpus_per_instance is \(size)",
          remedy: "set it to 1, or list placements"))
    }
    sites.sort { [labels] in labels.order($0.gpus[0]) < labels.order($1.gpus[0]) }
  }

  private func site(of gpus: [GPU], reason: String?) -> Site {
    Site(
      id: InstanceID("gpu" + labels[gpus[0].uuid]), gpus: gpus,
      settings: PlacementSettings(gpus: gpus.map { .uuid($0.uuid) }), reason: reason)
  }

  private mutating func tellDivided(_ gpus: [GPU]) {
    for gpu in gpus where gpu.kind == .divided && !gpus.contains(where: { $0.parent == gpu.uuid }) {
      guard gpu.slices.isEmpty else {
        remarks.append(
          Remark(
            what: "GPU \(labels[gpu.uuid]) is divided into MIG slices, which the key gpus does not list",
            remedy: "list them instead of it: \(gpu.slices.joined(separator: ", "))"))
        continue
      }
      remarks.append(
        Remark(
          what: "GPU \(labels[gpu.uuid]) is in MIG mode and has no slices",
          remedy:
            "`nvidia-smi mig -i \(gpu.uuid) -cgi … -C` makes some, `nvidia-smi -i \(gpu.uuid) -mig 0` makes it whole"
        ))
    }
  }

  // MARK: What the file lists

  /// - Parameter isListed: whether the file lists the GPUs, too: then a number is a position there, of slices as well.
  private mutating func place(
    _ placements: [PlacementSettings], _ configuration: LoadedConfiguration, _ gpus: [GPU], isListed: Bool
  ) {
    let byUUID = Dictionary(gpus.map { ($0.uuid, $0) }) { first, _ in first }
    let numbered =
      isListed ? gpus.map { ($0.index, $0) } : gpus.filter { !$0.isSlice }.map { (labels.number(of: $0), $0) }
    let byNumber = Dictionary(numbered) { first, _ in first }
    func find(_ reference: GPUReference) -> GPU? {
      switch reference {
      case .index(let number): byNumber[number]
      case .uuid(let uuid): byUUID[uuid]
      }
    }
    // As in the file; without GPUs where it is left out, so that it contradicts nobody.
    var placed: [PlacementSettings] = []
    var found: [Site?] = []
    for (index, placement) in placements.enumerated() {
      var resolved = placement
      let present = placement.gpus.compactMap(find)
      let missing = placement.gpus.filter { find($0) == nil }
      if let problem = problem(of: placement, index, present, missing, gpus, configuration) {
        leftOut.append(LeftOut(missing: missing, problem: problem))
        (resolved.gpus, resolved.id) = ([], nil)
        found.append(nil)
      } else {
        resolved.gpus = present.map { .uuid($0.uuid) }
        resolved.id = placement.id ?? "gpu" + labels[present[0].uuid]
        found.append(Site(id: InstanceID(resolved.id ?? ""), gpus: present, settings: placement))
      }
      placed.append(resolved)
    }
    for contradiction in contradictions(of: placed, configuration, gpus) where found[contradiction.placement] != nil {
      leftOut.append(LeftOut(missing: [], problem: contradiction.problem))
      found[contradiction.placement] = nil
    }
    sites = found.compactMap(\.self)
  }

  /// What is wrong with one placement by itself.
  private func problem(
    of placement: PlacementSettings, _ index: Int, _ present: [GPU], _ missing: [GPUReference], _ gpus: [GPU],
    _ configuration: LoadedConfiguration
  ) -> ConfigurationProblem? {
    let key = "placements[\(index)].gpus"
    func problem(_ what: String, expected: String) -> ConfigurationProblem {
      ConfigurationProblem(at: configuration.positions[key], key: key, what, expected: expected)
    }
    if !missing.isEmpty {
      return problem(
        "\(missing.map(\.description).joined(separator: ", ")) is not there",
        expected: "GPUs that `ollama-pool gpus` shows")
    }
    if let divided = present.first(where: { $0.kind == .divided }) {
      let slices = gpus.filter { $0.parent == divided.uuid }.map(\.uuid)
      return problem(
        "\(divided.uuid) is divided into MIG slices",
        expected: slices.isEmpty ? "another GPU" : "one of \(slices.joined(separator: ", "))")
    }
    if present.count > 1, present.contains(where: \.isSlice) {
      return problem("has a MIG slice beside others", expected: "it alone: a process can use one slice")
    }
    return nil
  }

  /// What is wrong with placements beside others that come before, with its position in the file.
  private func contradictions(
    of placed: [PlacementSettings], _ configuration: LoadedConfiguration, _ gpus: [GPU]
  ) -> [Settings.PlacementProblem] {
    var settings = configuration.settings
    settings.placements = .list(placed)
    let known = gpus.map(\.uuid)
    let memory = Dictionary(
      gpus.compactMap { gpu in gpu.memoryTotal.map { (gpu.uuid, ByteCount(bytes: Int(clamping: $0))) } },
      uniquingKeysWith: { first, _ in first })
    return settings.placementProblems(knownGPUs: known, memory: memory, positions: configuration.positions)
  }
}

extension PlacementPlan {
  /// Where no length of context is set, Ollama decides by the memory that it sees (its server/routes.go, 0.33): so a
  /// question might be cut short by one instance and not by another.
  private func contextRemark(_ settings: Settings) -> Remark? {
    func length(_ site: Site) -> Int? {
      guard site.settings.contextLength == nil, settings.contextLength == nil, !site.gpus.isEmpty else { return nil }
      let memory = site.gpus.compactMap(\.memoryTotal)
      guard memory.count == site.gpus.count else { return nil }
      return switch memory.reduce(0, +) >> 30 {
      case ..<23: 4096
      case ..<47: 32_768
      default: 262_144
      }
    }
    let settled = Set(settings.models.filter { $0.value.numCtx != nil }.map { ModelName.key(of: $0.key) })
    func areAsked(forTheSame one: Site, _ other: Site) -> Bool {
      let (first, second) = (one.settings.models.map(ModelName.key), other.settings.models.map(ModelName.key))
      let common = first.isEmpty ? second : second.isEmpty ? first : first.filter(second.contains)
      return first.isEmpty && second.isEmpty || !settled.isSuperset(of: common)
    }
    let known = sites.compactMap { site in length(site).map { (site: site, length: $0) } }
    for (index, one) in known.enumerated() {
      let other = known[index...].first { $0.length != one.length && areAsked(forTheSame: one.site, $0.site) }
      guard let other else { continue }
      return Remark(
        what:
          "the same question has room for \(one.length) tokens on \(one.site.id) and for \(other.length) on "
          + "\(other.site.id): Ollama decides by the GPU's memory",
        remedy: "set the key context_length")
    }
    return nil
  }

  /// The groups that the pool has formed, in words.
  var groups: String? {
    let grouped = sites.filter { $0.reason != nil }
    guard !grouped.isEmpty else { return nil }
    return grouped.map { "\($0.id) \($0.reason ?? "")" }.joined(separator: ", ")
  }

  /// What each site's instance is started with.
  func specifications(
    _ settings: Settings, _ ollama: OllamaExecutable, store: ModelStore
  ) -> [InstanceID: InstanceSpecification] {
    var specifications: [InstanceID: InstanceSpecification] = [:]
    for site in sites {
      let placement = Placement(
        id: site.id, gpus: site.gpus.map(\.uuid), slots: site.settings.slots ?? settings.slots)
      var specification = InstanceSpecification.make(
        placement, on: site.gpus, environment: site.settings.environment, settings: settings, store: store,
        ollama: ollama)
      specification.contextLength = site.settings.contextLength ?? settings.contextLength
      specification.keepAlive = site.settings.keepAlive ?? settings.keepAlive
      if settings.numaBinding {
        // Beside one GPU of several alone it would be far from the others.
        let (cpus, nodes) = (site.gpus.compactMap(\.localCPUs), site.gpus.compactMap(\.numaNode))
        if cpus.count == site.gpus.count {
          specification.cpus = cpus.reduce(CPUSet([])) { $0.union($1) }.numbers
        }
        if nodes.count == site.gpus.count { specification.numaNodes = Set(nodes).sorted() }
      }
      specifications[site.id] = specification
    }
    return specifications
  }

  /// Of each specification as much as is certain: what a driver fails to tell must not have an instance replaced by
  /// one that is pinned less well, and what else changes must reach it all the same.
  func digests(of specifications: [InstanceID: InstanceSpecification]) -> [InstanceID: String] {
    let certain = sites.compactMap { site in specifications[site.id].map { (site.id, $0.digest(site.certainty)) } }
    return Dictionary(certain) { first, _ in first }
  }

  /// The core's placements. One without a digest keeps what runs there, whatever that is.
  func placements(_ settings: Settings, digests: [InstanceID: String]) -> [Placement] {
    sites.map { site in
      Placement(
        id: site.id, gpus: site.gpus.map(\.uuid), slots: site.settings.slots ?? settings.slots,
        isShared: site.settings.shared, models: site.settings.models.map(ModelName.key),
        specification: digests[site.id] ?? "",
        neededMemory: settings.neededMemory(in: site.settings)?.bytes)
    }
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
    limits.busyMemory = busyMemory.bytes
    limits.yieldToOthers = yieldToOthers
    limits.yieldAfter = yieldAfter
    limits.allowCPU = allowCPU
    limits.preload = preload.map(ModelName.key)
    limits.readsAhead = readAhead
    limits.restarts.pause = restarts.pause
    limits.restarts.pauseMaximum = restarts.pauseMax
    limits.restarts.quarantineAfter = restarts.quarantineAfter
    limits.restarts.quarantine = restarts.quarantine
    return limits
  }
}
