import PoolCore

/// What operators have ordered, as they remember it themselves: what the supervisor does must fit this.
struct Operators: Sendable {
  /// UUIDs of GPUs.
  private(set) var cordons: Set<String> = []
  /// Placements that are to have nothing, with the time when that is forced; nil for never.
  private(set) var drains: [InstanceID: Instant?] = [:]
  /// Drains that may have been forgotten with their placements.
  private var formerDrains: Set<InstanceID> = []
  /// Lives that are to be restarted, and when that is forced.
  private var restarts: [InvocationID: Instant] = [:]

  mutating func cordoned(_ placement: Placement) { cordons.insert(placement.gpus[0]) }

  mutating func drained(_ placement: Placement, _ deadline: Instant?) {
    cordoned(placement)
    drains.updateValue(deadline, forKey: placement.id)
  }

  mutating func restarted(_ life: InvocationID?, _ deadline: Instant?) {
    if let life, let deadline { restarts[life] = deadline }
  }

  /// Everything that was ordered by this placement's first GPU.
  mutating func uncordoned(_ placement: Placement) {
    let gpu = placement.gpus[0]
    cordons.remove(gpu)
    let others = drains.keys.filter { Self.firstGPU(of: $0) != gpu }
    drains = drains.filter { others.contains($0.key) }
    formerDrains = formerDrains.filter { Self.firstGPU(of: $0) != gpu }
  }

  mutating func placementsChanged(_ placements: [Placement], units: [InstanceID: PoolSimulation.Unit]) {
    for id in drains.keys where units[id] == nil && !placements.contains(where: { $0.id == id }) {
      drains[id] = nil
      formerDrains.insert(id)
    }
  }

  func forbidStart(in placement: Placement) -> Bool { placement.gpus.contains(where: cordons.contains) }

  func mayDrain(_ id: InstanceID) -> Bool { drains[id] != nil || formerDrains.contains(id) }

  func mayCut(_ id: InstanceID, _ life: InvocationID, at now: Instant) -> Bool {
    [drains[id] ?? nil, restarts[life]].contains { $0.map { $0 <= now } ?? false }
  }

  /// As `PoolSimulation.placements` names them.
  private static func firstGPU(of id: InstanceID) -> String {
    id == "big" ? "GPU-0" : "GPU-\(id.name.dropFirst("gpu".count))"
  }
}
