import GPUInventory
import Launching
import OrderedCollections
package import PoolConfiguration
import PoolCore
import Systemd

/// From the settings, the GPUs and the program to what the core places, at the start and whenever one of them changes.
extension SupervisorDaemon {
  /// Reads the configuration again and puts it into force.
  /// - Returns: what holds now, for whoever else goes by it: another look at the files may find others.
  /// - Throws: what is wrong with it; then nothing has changed.
  @discardableResult
  package func reload() async throws(ConfigurationError) -> Settings {
    if options.notifiesServiceManager { ServiceManager.notifyReloading() }
    defer { notifyReady() }
    do throws(ConfigurationError) {
      reloads.begun += 1
      let number = reloads.begun
      let configuration = try options.readConfiguration()
      let settings = configuration.settings
      let found = await options.store(settings, launcher)
      let reading = try await reading(for: settings)
      // Last, since a start may see a newer one meanwhile.
      let program = await OllamaExecutable.look(setting: settings.ollama, plan.standIns)
      // The plan may be another one by now; by what was read later all the more.
      if number < reloads.taken { return plan.settings }
      let (old, storeBefore) = (plan.settings, plan.foundStore)
      let new = plan.changed(to: configuration, reading, program, plan.store(found, for: settings))
      // A GPU that was named before and is away by now is no mistake in the file, and a start would accept it too.
      let mistaken = new.placements.leftOut.filter { $0.missing.isEmpty || !old.namedGPUs.isSuperset(of: $0.missing) }
      if !mistaken.isEmpty { throw ConfigurationError(problems: mistaken.map(\.problem)) }
      reloads.taken = number
      take(new)
      let needsRestart = settings.launcher == old.launcher ? "" : "launcher takes a restart of the supervisor; "
      tell(SupervisorEvent(.reloaded, "configuration reloaded", why: needsRestart + plan.description))
      tellPlanProblems()
      if storeBefore != plan.foundStore { tellStore() }
      return settings
    } catch {
      tell(SupervisorEvent(.reloadRefused, "configuration not reloaded, nothing has changed", why: error.description))
      throw error
    }
  }

  private func reading(for settings: Settings) async throws(ConfigurationError) -> Inventory {
    let reading = await inventory.read(settings.gpuSource, within: options.gpuPatience)
    let isKnown = reading.map { $0.source != .drivers || !$0.gpus.isEmpty } ?? false
    // A driver that can't be asked just now must not cost the instances on its GPUs.
    if settings.gpus == plan.settings.gpus {
      return isKnown ? reading.map(plan.completed) ?? plan.inventory : plan.inventory
    }
    guard let reading else {
      throw ConfigurationError(problems: [
        ConfigurationProblem(
          at: nil, key: "gpus", "the GPUs have not answered within \(options.gpuPatience.brief)",
          expected: "a driver that answers: see `nvidia-smi`")
      ])
    }
    return reading
  }

  /// Puts a plan into force.
  func take(_ new: CurrentPlan) {
    let hasNewNumbers = new.numbering != plan.numbering
    plan = new
    lastReading = nil
    inventory.use(plan.settings.gpuSource, plan.inventory)
    if hasNewNumbers { storeNumbering() }
    applyPlan()
    forgetVariables()
  }

  /// Secrets of what neither runs nor is planned are not kept on the disk.
  func forgetVariables() {
    let kept = fleet.placements.filter { $1.life != .absent }.keys.map(\.self) + plan.placements.sites.map(\.id)
    EnvironmentFile.remove(in: state.path, exceptOf: Set(kept))
  }

  func applyPlan() {
    apply { [plan, restrictsNetwork = !launcher.startsAsOwnUser] fleet, now in
      fleet.limits = plan.fleetLimits(restrictsNetwork: restrictsNetwork)
      fleet.scaler.settings = plan.settings.scaling.rule
      return fleet.placementsChanged(plan.corePlacements, areAll: plan.placements.areAll, at: now)
    }
  }

  func tellPlanProblems() {
    for problem in plan.placementProblems + plan.remarks {
      tell(SupervisorEvent(.inventoryTrouble, "GPUs and placements", why: problem))
    }
    if case .failure(let error) = plan.program {
      tell(SupervisorEvent(.programMissing, "nothing can be started", why: error.message))
    }
  }

  func storeNumbering() {
    state.store(plan.numbering, as: .numbers) { [journal = options.journal] in
      journal.send(SupervisorEvent.storing($0).entry)
    }
  }

  // MARK: The program

  /// What to start with, now. A program that has come or changed since the last look is taken into account.
  /// - Throws: `LaunchError`, `SupervisorError`
  func prepareStart(_ id: InstanceID, attempt: Int) async throws -> (InstanceSpecification, port: UInt16) {
    if let found = await findProgram() { use(found) }
    apply { $0.startBegins(id, at: $1) }
    guard fleet.placements[id]?.life.isLaunching == true else {
      throw SupervisorError(.noSuchPlacement, "\(id) is not to be started any more")
    }
    var (specification, port) = try plan.specification(of: id, attempt: attempt, avoiding: ports(ofOthersThan: id))
    specification.prunesStore = isAlone(id) && plan.store?.refusal == nil
    launches.take(port, for: id)
    return (specification, port)
  }

  /// Whether no other instance runs, is being stopped, or was sent off to start before this one: nobody can be pulling.
  private func isAlone(_ id: InstanceID) -> Bool {
    fleet.placements.allSatisfy { other, record in
      switch record.life {
      case .absent: true
      case .launching: other == id || launches.port(of: other) == nil
      case .running, .stopping: false
      }
    }
  }

  /// Of what runs, is being stopped, or is being started.
  private func ports(ofOthersThan id: InstanceID) -> Set<UInt16> {
    Set(
      fleet.placements.compactMap { other, record in
        if other == id { return nil }
        return switch record.life {
        case .absent: nil
        case .launching: launches.port(of: other)
        case .running(let instance), .stopping(let instance, _):
          instance.unit.address.split(separator: ":").last.flatMap { UInt16($0) }
        }
      })
  }

  /// - Returns: nil where the configuration is another one by now.
  private func findProgram() async -> Result<OllamaExecutable, LaunchError>? {
    let configuration = plan.configuration
    let found = await OllamaExecutable.look(setting: configuration.settings.ollama, plan.standIns)
    return plan.configuration == configuration ? found : nil
  }

  /// Notices an upgrade: the instances are then replaced, one at a time.
  func lookAtProgram() async {
    guard let found = await findProgram() else { return }
    // While a package is being unpacked the program is missing, or half there: only what two looks saw alike counts.
    defer { lastSeenProgram = found }
    if found == lastSeenProgram { use(found) }
  }

  private func use(_ found: Result<OllamaExecutable, LaunchError>) {
    guard found != plan.program else { return }
    let wasMissing = plan.programIsMissing
    plan.use(found)
    switch found {
    case .success:
      let what = wasMissing ? "there is a program again" : "the program is another one"
      tell(SupervisorEvent(.programChanged, what, why: plan.programDescription))
    case .failure(let error): tell(SupervisorEvent(.programMissing, "nothing can be started", why: error.message))
    }
    applyPlan()
    // What failed for want of a program is to be tried again at once, also if the program is the same as before.
    if wasMissing, !plan.programIsMissing { apply { $0.forgetFailures(at: $1) } }
  }

  // MARK: The model store

  /// Its rights may have been changed, as a refusal advises.
  func lookAtStore() async {
    let configuration = plan.configuration
    let found = await options.store(configuration.settings, launcher)
    guard plan.configuration == configuration else { return }
    let store = plan.store(found, for: configuration.settings)
    guard store != plan.foundStore else { return }
    let wasThere = plan.storeIsThere
    plan.use(store: store)
    tellStore()
    applyPlan()
    // What failed for want of it is to be tried again at once.
    if !wasThere, plan.storeIsThere { apply { $0.forgetFailures(at: $1) } }
  }

  func tellStore() {
    switch plan.foundStore {
    case .success(let store):
      let why = [store.refusal?.description, store.passedOver].compactMap(\.self).joined(separator: "; ")
      tell(SupervisorEvent(.storeChanged, "models in \(store.description)", why: why))
    case .failure(let error):
      tell(SupervisorEvent(.storeChanged, "nothing can be started before the model store is known", why: error.message))
    }
  }
}

extension Settings {
  /// The GPUs that placements name.
  fileprivate var namedGPUs: Set<GPUReference> {
    if case .list(let placements) = placements { Set(placements.flatMap(\.gpus)) } else { [] }
  }
}

extension SupervisorEvent {
  /// - Parameter trouble: nil where it is over.
  static func storing(_ trouble: SupervisorError?) -> SupervisorEvent {
    guard let trouble else { return SupervisorEvent(.stateStored, "state is stored again") }
    return SupervisorEvent(.stateTrouble, "state is not stored, and will be tried again", why: trouble.message)
  }
}
