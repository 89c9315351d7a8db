import GPUInventory
import Launching
import PoolConfiguration
import PoolCore

/// What is in force: the settings, and what follows from them on this machine at this time.
struct CurrentPlan: Sendable {
  let configuration: LoadedConfiguration
  let inventory: Inventory
  let numbering: GPUNumbering
  let placements: PlacementPlan
  /// What may stand in for `ollama`: nothing any more once there was one. An upgrade, in which it is away for a while,
  /// must not replace the instances by others that make their answers up.
  private(set) var standIns: StandIns
  /// The program that instances run, or why there is none.
  private(set) var program: Result<OllamaExecutable, LaunchError>
  /// Where the models are, or why that is not known.
  private(set) var foundStore: Result<ModelStore, LaunchError>
  /// What each instance is started with; empty without a program or a store.
  private(set) var specifications: [InstanceID: InstanceSpecification] = [:]
  private var digests: [InstanceID: String]
  /// What the drivers don't tell just now, though the plan goes by what they told before.
  var driverTroubles: [InventoryProblem] = []

  /// - Parameter digests: of the specifications that hold as long as there is no program, or it is not known where the
  ///   models are: instances that run must not be replaced for that.
  init(
    _ configuration: LoadedConfiguration, _ inventory: Inventory, numbering: GPUNumbering, _ standIns: StandIns,
    program: Result<OllamaExecutable, LaunchError>, store: Result<ModelStore, LaunchError>,
    keeping digests: [InstanceID: String]
  ) {
    self.configuration = configuration
    let inventory = inventory.expecting(numbering, configuration.settings)
    self.inventory = inventory
    self.standIns = standIns
    foundStore = store
    self.digests = digests
    var numbering = numbering
    placements = PlacementPlan(configuration, inventory: inventory, numbering: &numbering)
    self.numbering = numbering
    self.program = program
    specify()
  }

  var settings: Settings { configuration.settings }

  /// Where the models are; nil while that is not known.
  var store: ModelStore? { try? foundStore.get() }

  /// Whether it is known, and what it is on is mounted.
  var storeIsThere: Bool { store?.isUnmounted == false }

  /// The same with another configuration, and what was found for it.
  func changed(
    to configuration: LoadedConfiguration, _ inventory: Inventory, _ program: Result<OllamaExecutable, LaunchError>,
    _ store: Result<ModelStore, LaunchError>
  ) -> CurrentPlan {
    var new = CurrentPlan(
      configuration, inventory, numbering: numbering, standIns, program: program, store: store, keeping: digests)
    new.driverTroubles = driverTroubles
    return new
  }

  /// A reading as it is to be understood by who has met these GPUs before.
  func expected(_ reading: Inventory) -> Inventory { reading.expecting(numbering, settings) }

  /// The same with the GPUs that were there before, and that it has nothing of.
  func completed(_ reading: Inventory) -> Inventory { expected(reading).keeping(inventory) }

  /// The same with the GPUs as they were read.
  func changed(to inventory: Inventory) -> CurrentPlan { changed(to: configuration, inventory, program, foundStore) }

  /// Takes another program, or a new build of it, into the specifications.
  mutating func use(_ program: Result<OllamaExecutable, LaunchError>) {
    self.program = program
    specify()
  }

  /// What is to be taken for the store: where it can't be found just now, the one that these settings had before.
  func store(
    _ found: Result<ModelStore, LaunchError>, for new: Settings
  ) -> Result<ModelStore, LaunchError> {
    let isSame =
      new.modelsPath == settings.modelsPath && new.instanceUser == settings.instanceUser
      && new.environment["HOME"] == settings.environment["HOME"]
    guard isSame else { return found }
    return found.problem != nil && store != nil ? foundStore : found.map { $0.remembering(store) }
  }

  mutating func use(store: Result<ModelStore, LaunchError>) {
    foundStore = store
    specify()
  }

  private mutating func specify() {
    guard case .success(let program) = program else { return }
    if program.kind == .ollama { standIns = .refused }
    guard let store else { return }
    specifications = placements.specifications(settings, program, store: store)
    if !store.isOwnerKnown {
      // What runs was started when it was mounted.
      let ofOthers = placements.specifications(settings, program, store: store.ofOthers)
      if ofOthers.contains(where: { digests[$0.key]?.hasPrefix($0.value.digest(.withoutPins)) == true }) {
        foundStore = .success(store.ofOthers)
        specifications = ofOthers
      }
    }
    digests = placements.digests(of: specifications)
  }

  /// For the core.
  var corePlacements: [Placement] { placements.placements(settings, digests: digests) }

  /// What an attempt to start is made with.
  ///
  /// - Parameter taken: ports of other instances. The placements may have been others when these were started, so that
  ///   one of them may have this placement's port.
  /// - Throws: `LaunchError`, `SupervisorError`
  func specification(
    of id: InstanceID, attempt: Int, avoiding taken: Set<UInt16>
  ) throws -> (InstanceSpecification, port: UInt16) {
    _ = try program.get()
    _ = try foundStore.get()
    guard let specification = specifications[id], let index = placements.sites.firstIndex(where: { $0.id == id }) else {
      throw SupervisorError(.noSuchPlacement, "\(id) is no longer configured")
    }
    for attempt in attempt..<attempt + Settings.instancePortSpan {
      let port = try InstancePort.port(
        first: settings.instancePorts, placement: index, of: placements.sites.count, attempt: attempt)
      if !taken.contains(port) { return (specification, port) }
    }
    throw SupervisorError(
      .noFreePort, "other instances still have all ports of \(id); choose an instance_ports that is free")
  }

  /// For people.
  var description: String {
    let places =
      switch inventory.source {
      case .drivers: counted(inventory.gpus.count, "GPU") + " found"
      case .configured: counted(inventory.gpus.count, "configured GPU")
      case .cpu: "no GPU, so on the CPU" + (inventory.problems.first.map { " (\($0))" } ?? "")
      }
    let groups = placements.groups.map { ", in groups: \($0)" } ?? ""
    return "\(places)\(groups); \(programDescription)"
  }

  var programIsMissing: Bool { if case .failure = program { true } else { false } }

  var programDescription: String {
    switch program {
    case .success(let program): program.kind == .simulator ? "\(program.path) (simulator)" : program.path
    case .failure(let error): error.message
    }
  }

  /// What is wrong with GPUs and placements, and doesn't keep the rest from running. That there is no driver is no
  /// problem where the CPU may do.
  var placementProblems: [String] {
    let problems = inventory.source == .cpu ? [] : inventory.problems.filter { $0.kind > .aside }
    let others = problems.filter { problem in !problems.contains { problem.repeats($0) } }
    return (others + driverTroubles.filter { !others.contains($0) }).map(\.description)
      + placements.leftOut.map(\.problem.description)
  }

  /// What is hardly as anybody wants it, and hinders nothing.
  var remarks: [String] {
    placements.remarks.map(\.description)
      + (settings.numaBinding ? inventory.problems.filter { $0.kind == .aside }.map(\.description) : [])
  }

  /// Whether all places are still there and others with them; GPUs instead of the CPU are more, and so is it to know
  /// at last which places there are.
  func finds(moreThan old: CurrentPlan) -> Bool {
    if placements.areAll, !old.placements.areAll { return true }
    let (new, known) = (Set(placements.sites.map(\.id)), Set(old.placements.sites.map(\.id)))
    return old.inventory.source == .cpu ? inventory.source != .cpu && !new.isEmpty : new.isStrictSuperset(of: known)
  }

  var problems: [String] { placementProblems + [program.problem, foundStore.problem].compactMap(\.self) }

  /// What bounds the supervision.
  ///
  /// - Parameter restrictsNetwork: whether instances can be kept from the network.
  func fleetLimits(restrictsNetwork: Bool) -> FleetLimits {
    var limits = settings.fleetLimits
    limits.servedModels = settings.servedModels
    limits.storeRefusal = foundStore.problem ?? store?.refusal?.description
    limits.networkIsForWriterOnly = restrictsNetwork
    return limits
  }
}

extension Result where Failure == LaunchError {
  var problem: String? { if case .failure(let error) = self { error.message } else { nil } }
}
