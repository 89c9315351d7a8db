import GPUInventory
import Launching
import PoolConfiguration
import Supervisor

/// What the drivers and /dev tell of the GPUs.
struct GPUFacts: Sendable {
  var drivers: KernelDrivers
  var inventory: Inventory
  /// UUIDs of GPUs whose driver tells errors as they happen.
  var withEvents: Set<String> = []
  /// Why some do not.
  var eventProblem: InventoryProblem?
  /// Who is on the GPUs, by number, as far as they can be seen.
  var processes: [Int32: SeenProcess] = [:]
  /// Whether this is in a container of Docker's or Podman's, which has the GPUs that it was started with.
  var isInContainer = false

  /// Whether a GPU of NVIDIA's has answered.
  var hasNVIDIA: Bool {
    let unknown = Set(inventory.problems.filter { $0.kind == .unknown }.map(\.gpu))
    return inventory.hasAnswerOfNVIDIA && inventory.gpus.contains { $0.vendor == .nvidia && !unknown.contains($0.uuid) }
  }

  /// Where nothing keeps NVIDIA's driver ready it wakes up each GPU for whoever comes, in up to three seconds.
  static let patience = Duration.seconds(60)

  /// - Returns: nil where a driver does not answer.
  static func read(_ settings: Settings) async -> GPUFacts? {
    let source = settings.gpuSource
    var facts = await Patience().answer(within: patience) {
      // It keeps the driver open, which would have to begin anew for the trial.
      let reader = InventoryReader()
      let inventory = reader.read(source)
      let (registered, problem) = withExtendedLifetime(reader) {
        GPUEventSource.trial(inventory.hasAnswerOfNVIDIA ? inventory.gpus : [])
      }
      return GPUFacts(
        drivers: .read(), inventory: inventory, withEvents: registered, eventProblem: problem,
        isInContainer: ["/.dockerenv", "/run/.containerenv"].contains { FileStatus(of: $0) != nil })
    }
    for process in Set((facts?.inventory.gpus ?? []).flatMap { ($0.processes ?? []).map(\.pid) }) {
      facts?.processes[process] = await SeenProcess.look(at: process)
    }
    return facts
  }
}

extension GPUChoice {
  /// The vendors whose drivers are asked.
  var vendors: Set<GPU.Vendor> {
    switch self {
    case .cpu: []
    case .auto: [.nvidia, .amd]
    case .list(let gpus): Set(gpus.map { $0.vendor == .amd ? .amd : .nvidia })
    }
  }

  var asksNVIDIA: Bool { vendors.contains(.nvidia) }
}

extension GPU {
  /// For people.
  var title: String { "\(name ?? vendor.rawValue) \(uuid)" }
}
