package import GPUInventory
import Launching
package import PoolConfiguration
import PoolCore
import Systemd

/// What the GPUs' drivers say, as long as the supervisor runs.
extension SupervisorDaemon {
  /// Between two readings: others' programs and lost GPUs are noticed within it.
  private static let readingInterval = Duration.seconds(2)

  func watchGPUs() async {
    while true {
      do { try await Task.sleep(for: Self.readingInterval, tolerance: .milliseconds(200)) } catch { return }
      await readGPUs()
    }
  }

  /// Reads all GPUs once, and takes into account what has changed: others that use them, troubles, GPUs that have come.
  func readGPUs() async {
    let configuration = plan.configuration
    let source = configuration.settings.gpuSource
    guard source.asksDriver else { return }
    let reading = await inventory.read(source, within: options.gpuPatience)
    // The configuration may be another one by now.
    guard plan.configuration == configuration else { return }
    let seen = reading ?? .unanswered(within: options.gpuPatience)
    let told = replan(seen)
    let known = plan.placements.sites.flatMap { $0.gpus.map(\.uuid) }
    let expected = plan.expected(seen)
    let (readings, nameless) = await readings(of: expected, known: known)
    guard plan.configuration == configuration else { return }
    let shown = expected.keeping(plan.inventory)
    gpuFaultCounts.read(readings, known: Set(shown.gpus.map(\.uuid)))
    lastReading = shown
    apply { $0.gpusRead(readings, at: $1) }
    options.gpuEvents?.watch(expected.incompleteness == nil ? expected.gpus : shown.gpus)
    let events = seen.hasAnswerOfNVIDIA ? options.gpuEvents?.problem?.ofEvents : nil
    noteTroubles([expected.incompleteness, events, nameless].compactMap(\.self), told: told)
    watchersShouldKnow()
  }

  /// Tells of those that are new.
  private func noteTroubles(_ troubles: [InventoryProblem], told: [InventoryProblem]) {
    for trouble in troubles where !(plan.driverTroubles + told).contains(trouble) {
      tell(SupervisorEvent(.inventoryTrouble, "GPUs and placements", why: trouble.description))
    }
    plan.driverTroubles = troubles
  }

  /// Off the actor: it looks into /proc for each process, and one that hangs may never answer. Then its neighbours are
  /// told apart all the same, but for what is in its memory.
  private func readings(of inventory: Inventory, known: [String]) async -> ([GPUReading], InventoryProblem?) {
    let limit = options.gpuPatience
    func answer(_ subject: String, readsArguments: Bool) async -> [GPUReading]? {
      await processPatience.answer(about: subject, within: limit) { [launcher] in
        [GPUReading](inventory, known: known) { launcher.instance(ofProcess: $0, readsArguments: readsArguments) }
      }
    }
    if let named = await answer("command lines", readsArguments: true) { return (named, nil) }
    var problem = InventoryProblem(
      subject: "/proc", text: "does not tell within \(limit.brief) the command of each process on the GPUs",
      advice: "one of them hangs: `ps -eo pid,stat,wchan:32,comm` shows it with the state D")
    if let told = await answer("owners", readsArguments: false) { return (told, problem) }
    problem.text = "does not tell within \(limit.brief) whose the processes on the GPUs are"
    return ([GPUReading](inventory, known: known) { _ in .unknown }, problem)
  }

  /// Takes other GPUs than before into the plan: one was added, slices were made, a driver has come.
  /// - Returns: the plan's problems that have been told.
  private func replan(_ reading: Inventory) -> [InventoryProblem] {
    let (before, names) = (plan.inventory.problems, Set(plan.placements.sites.map(\.id)))
    let reading = plan.completed(reading)
    guard !reading.hasSamePlaces(as: plan.inventory) else { return before }
    let new = plan.changed(to: reading)
    // What may hide GPUs must not cost those that run.
    guard new.placements.areAll || new.finds(moreThan: plan) else { return before }
    take(new)
    guard names != Set(plan.placements.sites.map(\.id)) else { return before }
    tell(SupervisorEvent(.placementsChanged, "other GPUs are there than before", why: plan.description))
    tellPlanProblems()
    return plan.inventory.problems
  }

  /// Errors that the driver tells of by itself.
  func followGPUEvents() async {
    guard let events = options.gpuEvents else { return }
    for await event in events.events {
      // What the driver says of a divided GPU concerns all its slices.
      let slices = plan.inventory.gpus.filter { $0.parent == event.uuid }.map(\.uuid)
      for uuid in slices.isEmpty ? [event.uuid] : slices {
        gpuFaultCounts.hear(event.kind, of: uuid)
        apply { $0.gpuFaulted(uuid, GPUFault(event), at: $1) }
      }
      // What the next reading says may be worse.
      workQueue.yield(.readGPUs)
    }
  }

  // MARK: What outlives the supervisor

  func keepFaults() {
    guard fleet.faultsToKeep != storedFaults else { return }
    storedFaults = fleet.faultsToKeep
    storeFaults()
  }

  func storeFaults() {
    state.store(GPUFaults(storedFaults, boot: GPUFaults.presentBoot), as: .faults) { [journal = options.journal] in
      journal.send(SupervisorEvent.storing($0).entry)
    }
  }
}

extension GPUFault {
  init(_ event: GPUEvent) {
    switch event.kind {
    case .xid(let code): self.init(XIDError(code: code))
    // An XID tells of the same error, and what follows.
    case .doubleBitECC: self.init("an ECC error that could not be corrected", .warning)
    }
  }

  init(_ error: XIDError) { self.init("\(error): \(error.explanation)", error.consequence) }
}

extension InventoryProblem {
  /// What it means where it keeps a driver from telling of errors by itself.
  fileprivate var ofEvents: InventoryProblem {
    var problem = self
    problem.text += ", so that XID errors are not heard of"
    return problem
  }
}

extension Inventory {
  /// Where GPUs were met before, that no driver is there does not mean the CPU, unless that may be used beside them:
  /// the driver is not loaded yet, or was taken away. For `gpus: auto`.
  package func expecting(_ known: GPUNumbering, _ settings: Settings) -> Inventory {
    guard settings.gpus == .auto, !settings.allowCPU, source == .cpu, !known.isEmpty else { return self }
    let cause = problems.first.map { " (\($0))" } ?? ""
    return Inventory(
      source: .drivers,
      problems: [
        InventoryProblem(
          subject: "gpus",
          text:
            "there were GPUs on this machine, and there is none now\(cause). Nothing is computed on the CPU instead",
          advice:
            "load their driver; where they come and go, set the key allow_cpu to true; where they are gone for good, "
            + "the key gpus to cpu", kind: .silent)
      ])
  }

  /// With whole GPUs that were there before and are not any more: they keep their places, so that it is said of them.
  /// Slices come and go with how their GPU is divided. Where a reading has doubts, all are there still.
  func keeping(_ old: Inventory) -> Inventory {
    let isIncomplete = incompleteness != nil
    guard source == .drivers, old.source == .drivers || isIncomplete else { return self }
    var kept = self
    // A driver that gives no answer says nothing of what is configured: that is counted as before.
    if old.source == .configured { kept.source = .configured }
    let present = Set(gpus.map(\.uuid))
    for gpu in old.gpus where (gpu.kind == .whole || isIncomplete) && !present.contains(gpu.uuid) {
      kept.gpus.append(gpu.withoutReadings)
      // It may be the one that could not be asked.
      if !isIncomplete, !problems.contains(where: { $0.gpu == gpu.uuid }) {
        kept.problems.append(.unknownGPU(gpu.uuid, "it was there, and is not any more"))
      }
    }
    return kept
  }

  /// Whether the same could be placed on the GPUs of both, in the same way.
  func hasSamePlaces(as other: Inventory) -> Bool {
    source == other.source && gpus.map(\.withoutReadings) == other.gpus.map(\.withoutReadings)
      && problems == other.problems && driverVersion == other.driverVersion
  }
}
