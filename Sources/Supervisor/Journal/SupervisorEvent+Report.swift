import OrderedCollections
import PoolCore

extension SupervisorEvent {
  /// Where an event of the core came from.
  enum Origin: Equatable, Sendable {
    /// This user ordered it.
    case order(userID: UInt32)
    /// The session with the dispatcher ended, because of this.
    case dispatcher(end: String, hadDrained: Bool)
  }

  /// The core's report in words.
  /// - Parameters:
  ///   - fleet: as it is after the report.
  ///   - origin: nil for the supervisor's own doing.
  init(_ report: FleetReport, of fleet: Fleet, origin: Origin? = nil) {
    let by = if case .order(let userID) = origin { "by order of uid \(userID)" } else { "" }
    let appendedBy = by.isEmpty ? "" : ", \(by)"
    func about(_ id: InstanceID, _ kind: Kind, _ what: String, why: String = "") -> SupervisorEvent {
      SupervisorEvent(
        kind, "\(id) \(what)", why: why, instance: id, gpus: fleet.placements[id]?.gpus ?? [])
    }
    func aboutGPU(_ key: String, _ kind: Kind, _ what: String, why: String) -> SupervisorEvent {
      let placement = fleet.placements.values.first { $0.placement.gpus.contains(key) || $0.placement.id.name == key }
      let isGPU = placement?.placement.gpus.contains(key) ?? true
      let label = placement.map { isGPU ? "\(key) (\($0.placement.id))" : key } ?? key
      return SupervisorEvent(
        kind, "\(label) \(what)", why: why, instance: placement?.placement.id, gpus: isGPU ? [key] : [])
    }
    switch report {
    case .targetChanged(let from, let to, let ready, let starting, let demand, let reason):
      self.init(
        .targetChanged, "target \(to) (was \(from))",
        why: "\(reason); \(ready) ready, "
          + (starting > 0 ? "\(starting) starting, " : "") + counted(demand, "request"))
    case .starting(let id, let attempt):
      self =
        attempt == 0
        ? about(id, .starting, "starts") : about(id, .starting, "starts", why: "try \(attempt + 1)")
    case .running(let id, let unit):
      self = about(
        id, .running, "runs", why: "process \(unit.mainPID) at \(unit.address), not ready yet")
    case .adopted(let id, let unit):
      self = about(id, .adopted, "is adopted", why: "it runs already, process \(unit.mainPID) at \(unit.address)")
    case .ready(let id, let start):
      let parts =
        ["unit \(start.unit.fine)"] + [start.discovery.map { "first answer \($0.fine)" }].compactMap(\.self)
        + start.loads.map { "\($0.model) \($0.duration.fine)" }
      self = about(id, .ready, "ready after \(start.total.brief)", why: parts.joined(separator: ", "))
    case .failed(let id, let reason, let failures, let pause):
      let next = pause > .zero ? "next try in \(pause.brief)" : "to be tried again at once"
      self = about(
        id, .failed, "failed", why: "\(reason); \(next)" + (failures > 1 ? " (\(failures) failures in a row)" : ""))
    case .quarantined(let id, let reason, let failures, let pause):
      self = about(
        id, .quarantined, "is in quarantine for \(pause.brief)",
        why: "\(counted(failures, "failure")) in a row, the last: \(reason)")
    case .draining(let id, let reason):
      self = about(id, .draining, "drains", why: reason.description + appendedBy)
    case .stopping(let id, let reason): self = about(id, .stopping, "stops", why: reason.description)
    case .stopped(let id, let reason): self = about(id, .stopped, "has stopped", why: reason.description)
    case .replacementHeld(let id, let reason):
      self = about(id, .replacementHeld, "does not run with the new specification, replacing waits", why: reason)
    case .dispatcherFound: self.init(.dispatcherFound, "dispatcher found")
    case .dispatcherLost:
      guard case .dispatcher(let end, let hadDrained) = origin else {
        self.init(.dispatcherLost, "dispatcher lost")
        return
      }
      self =
        hadDrained
        ? SupervisorEvent(.dispatcherEnded, "dispatcher has drained and ended")
        : SupervisorEvent(.dispatcherLost, "dispatcher lost", why: "\(end); instances go on, nothing shrinks")
    case .scaleSet(nil, nil): self.init(.scaleSet, "the configured bounds hold again", why: by)
    case .scaleSet(let minimum, let maximum):
      let end = fleet.scaler.override?.until == nil ? "until taken back" : "for a time"
      let bounds =
        switch (minimum, maximum) {
        case (let minimum?, let maximum?) where minimum == maximum: "exactly \(minimum)"
        case (let minimum, let maximum):
          [minimum.map { "at least \($0)" }, maximum.map { "at most \($0)" }].compactMap(\.self)
            .joined(separator: " and ")
        }
      self.init(.scaleSet, "\(bounds) instances, \(end)", why: by)
    case .cordoned(let key, let reason, let until):
      let end = until == nil ? "" : " for a time"
      self = aboutGPU(key, .cordoned, "is cordoned\(end)", why: reason + appendedBy)
    case .uncordoned(let key): self = aboutGPU(key, .uncordoned, "is cordoned no more", why: by)
    case .cordonEnded(let key): self = aboutGPU(key, .cordonEnded, "is cordoned no more", why: "its time is over")
    case .startHeld(let id, let obstacle):
      self = about(id, .startHeld, "is passed over", why: obstacle.description)
    case .goesOn(let id): self = about(id, .goesOn, "goes on", why: "others have left its GPU")
    case .gpuFailed(let uuid, let reason, let inARow):
      let times = inARow > 1 ? " (\(inARow) times in a row)" : ""
      self = aboutGPU(uuid, .gpuFailed, "has failed", why: reason + times)
    case .gpuBack(let uuid): self = aboutGPU(uuid, .gpuBack, "may be used again", why: by)
    case .gpuEvent(let uuid, let fault):
      self = aboutGPU(uuid, .gpuEvent, "had an error", why: fault.description)
    case .modelBesideGPU(let id, let model, let reason):
      self = about(id, .modelBesideGPU, "computes \(model) on the CPU in part or wholly", why: "it \(reason)")
    case .writerChanged(let id?): self = about(id, .writerChanged, "changes the model store from now on")
    case .modelRead(let outcome):
      let speed = outcome.duration > .zero ? Int(Double(outcome.read) / outcome.duration.seconds) : 0
      self.init(
        .modelRead, outcome.problem == nil ? "\(outcome.model) is read ahead" : "\(outcome.model) is not read ahead",
        why: outcome.problem
          ?? "\(byteText(outcome.read)) of \(byteText(outcome.size)) in \(outcome.duration.fine), \(byteText(speed))/s")
    case .readAheadFailed(let reason): self.init(.readAheadFailed, "models are not read ahead", why: reason)
    case .writerChanged(nil): self.init(.writerChanged, "no instance changes the model store from now on")
    }
  }
}
