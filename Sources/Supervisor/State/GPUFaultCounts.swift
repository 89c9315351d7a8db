import ControlInterface
import GPUInventory
import PoolCore

/// How many errors of each kind the GPUs have had since the supervisor began.
struct GPUFaultCounts: Sendable {
  private var counts: [String: [String: Int]] = [:]
  /// What the last reading showed of each GPU.
  private var shown: [String: String] = [:]

  /// Of one GPU, by the names of the kinds; empty where it has had none.
  subscript(uuid: String) -> [DispatcherTypes.GPUFaults] {
    (counts[uuid] ?? [:]).sorted { $0.key < $1.key }.map { DispatcherTypes.GPUFaults(kind: $0.key, count: $0.value) }
  }

  /// The driver tells of an error: each time that it does counts.
  mutating func hear(_ kind: GPUEvent.Kind, of uuid: String) {
    switch kind {
    case .xid(let code): count("xid_\(code)", of: uuid)
    case .doubleBitECC: count("uncorrectable_ecc", of: uuid)
    }
  }

  /// A trouble counts when a reading begins to show it.
  ///
  /// - Parameter known: UUIDs of all GPUs that are told of; what was counted of others is forgotten.
  mutating func read(_ readings: [GPUReading], known: Set<String>) {
    for reading in readings where shown[reading.uuid] != reading.trouble?.kind {
      shown[reading.uuid] = reading.trouble?.kind
      if let kind = reading.trouble?.kind { count(kind, of: reading.uuid) }
    }
    counts = counts.filter { known.contains($0.key) }
    shown = shown.filter { known.contains($0.key) }
  }

  private mutating func count(_ kind: String, of uuid: String) {
    let kinds = counts[uuid] ?? [:]
    // A driver may make numbers up.
    let isKnown = kinds[kind] != nil || kinds.count < DispatcherTypes.GPUFaults.mostKinds - 1
    counts[uuid, default: [:]][isKnown ? kind : "other", default: 0] += 1
  }
}

extension GPUTrouble {
  /// Without what differs from GPU to GPU.
  fileprivate var kind: String {
    switch self {
    case .lost: "lost"
    case .missing: "missing"
    case .missingNode: "missing_node"
    case .needsReset: "needs_reset"
    case .unanswered: "unanswered"
    }
  }
}
