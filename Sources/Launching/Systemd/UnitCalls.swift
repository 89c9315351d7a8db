import Glibc
import PoolCore
import Systemd

/// Orders about instances' units that get through restarts of dbus and of systemd: each may be repeated without harm,
/// and is while the bus is away, for as long as ``patience``.
struct UnitCalls: Sendable {
  /// Such a restart takes a second at most. Also how long a unit that is on its way may block its successor's name.
  private static let patience = Duration.seconds(30)
  private static let pause = Duration.milliseconds(50)
  /// journald may still have an ended program's last lines to write. Also how much later an end is told that had none.
  private static let patienceWithJournal = Duration.milliseconds(300)

  let bus: SystemdBus
  let owner: UnitOwner
  /// Whether the manager can.
  let closesNetwork: Bool

  func read(_ status: UnitStatus) -> InstanceUnit.Reading {
    InstanceUnit.read(status, owner: owner, closesNetwork: closesNetwork)
  }

  /// Instances that have a unit in memory, whatever its state.
  func list() async throws(LaunchError) -> [InstanceID] {
    do throws(SystemdError) {
      return try await patiently { () throws(SystemdError) in try await bus.listUnits(patterns: [InstanceUnit.pattern])
      }
      .compactMap(InstanceUnit.id).sorted()
    } catch {
      throw LaunchError(error)
    }
  }

  /// nil where there is no such unit.
  func status(of id: InstanceID) async throws(LaunchError) -> UnitStatus? {
    do throws(SystemdError) {
      return try await patiently { () throws(SystemdError) in try await bus.unitProperties(InstanceUnit.name(id)) }
    } catch {
      guard error.code == .noSuchUnit else { throw LaunchError(error) }
      return nil
    }
  }

  /// The same without patience.
  func lookAt(_ id: InstanceID) async -> Result<UnitStatus?, SystemdError> {
    do throws(SystemdError) {
      return .success(try await bus.unitProperties(InstanceUnit.name(id)))
    } catch {
      return error.code == .noSuchUnit ? .success(nil) : .failure(error)
    }
  }

  /// Why a unit ended, in the instance's own words where the journal has some.
  func reason(_ state: UnitState, _ id: InstanceID, _ specification: InstanceSpecification?) async -> String {
    UnitEnd.reason(
      state, id: id, specification: specification,
      complaint: UnitEnd.isOfProgram(state) ? await complaint(of: state) : nil)
  }

  private func complaint(of state: UnitState) async -> String? {
    let deadline = ContinuousClock.now + Self.patienceWithJournal
    while true {
      if let words = JournalReader.lastMessages(of: state).lazy.compactMap(Complaint.of).first { return words }
      guard ContinuousClock.now < deadline, !Task.isCancelled else { return nil }
      try? await Task.sleep(for: Self.pause)
    }
  }

  // MARK: Starting

  func start(
    _ specification: InstanceSpecification, _ properties: [UnitProperty]
  ) async throws(LaunchError) -> RunningInstance.Unit {
    let id = specification.id
    let name = InstanceUnit.name(id)
    let deadline = ContinuousClock.now + Self.patience
    var properties = properties
    var hasBegun = false
    var job: JobResult?
    repeat {
      if !hasBegun {
        job = try await begin(name, properties)
        hasBegun = job != nil
      }
      let status = try await status(of: id)
      switch status?.state {
      case let state? where state.isRunning:
        switch status.map(read) {
        case .own(let unit): return unit
        case .others(let other):
          throw LaunchError(
            .refused,
            "\(name) runs for another pool, whose sockets are in \(other): stop that one, or give the placements of one "
              + "of them other ids")
        case .foreign, nil:
          throw LaunchError(.refused, "\(name) runs and is not the pool's: stop it, or rename the placement")
        }
      case let state? where state.hasEnded:
        await release(id)
        // A machine may have fewer CPUs and nodes for its units than it has: better elsewhere than not at all.
        if hasBegun, UnitEnd.isForWantOfLocalResources(state), properties != InstanceUnit.unbound(properties) {
          properties = InstanceUnit.unbound(properties)
          hasBegun = false
          continue
        }
        guard !hasBegun else {
          if job == .dependency { throw await unmet(specification) }
          throw LaunchError(.ended, "\(id) did not start: \(await reason(state, id, specification))")
        }
        guard status?.isTransient == true else {
          throw LaunchError(
            .refused,
            "a unit file \(name) is in the way: remove it (`systemctl cat \(name)` shows where it is), or `systemctl "
              + "unmask` it, or rename the placement")
        }
      case nil where hasBegun:
        if job == .dependency { throw await unmet(specification) }
        throw LaunchError(.ended, "\(id) did not start: its unit is gone")
      default: break
      }
      // Its name is taken by one that is on its way, or the start was lost with the bus.
      try? await Task.sleep(for: Self.pause)
    } while ContinuousClock.now < deadline && !Task.isCancelled
    throw LaunchError(.timedOut, "\(id) did not start: a unit \(name) is on its way and does not come to an end")
  }

  private func unmet(_ specification: InstanceSpecification) async -> LaunchError {
    // systemd says that something was missing, and not what.
    let home = (try? InstanceAccount.resolve(specification.user).home) ?? "/"
    let mount =
      await Patience.files.answer(about: specification.storePath(home: home)) { specification.missingMount(home: home) }
      ?? nil
    return mount.map { LaunchError(of: specification.id, missing: $0) }
      ?? LaunchError(
        .ended,
        "\(specification.id) did not start: what its unit needs did not come up; the journal of systemd says what")
  }

  /// - Returns: what the start came to; nil: look at what is there.
  private func begin(_ name: String, _ properties: [UnitProperty]) async throws(LaunchError) -> JobResult? {
    do throws(SystemdError) {
      return try await bus.startTransientUnit(name, properties: properties)
    } catch {
      switch error.code {
      case .unitExists, .connectionLost: return nil
      case .timedOut:
        if await isOwn(name) { _ = try? await bus.stopUnit(name) }
        throw LaunchError(error)
      case .cancelled:
        // While the whole pool stops, the start waits for the dispatcher's end, which waits for this process. Left
        // alone it would come through after both.
        await Task { if await isOwn(name) { try? await bus.orderStop(name) } }.value
        throw LaunchError(error)
      default: throw LaunchError(error)
      }
    }
  }

  /// Whether there is a unit of that name, if only on its way, and it is this pool's. systemd answers in turn, so that
  /// a start before is taken into account.
  private func isOwn(_ name: String) async -> Bool {
    guard let status = try? await bus.unitProperties(name) else { return false }
    return InstanceUnit.owner(of: status) == owner.folder
  }

  // MARK: Stopping

  func stop(_ id: InstanceID, _ invocation: InvocationID, kill: Bool) async throws(LaunchError) {
    guard try await isThere(id, invocation) else { return }
    let name = InstanceUnit.name(id)
    do throws(SystemdError) {
      if kill {
        try await patiently { () throws(SystemdError) in try await bus.killUnit(name, whom: .all, signal: SIGKILL) }
      }
      _ = try await patiently { () throws(SystemdError) in try await bus.stopUnit(name) }
    } catch {
      // It ended by itself, and is collected.
      guard error.code == .noSuchUnit else { throw LaunchError(error) }
    }
    if try await isThere(id, invocation) {
      throw LaunchError(.timedOut, "\(id) does not stop: see systemctl status \(name)")
    }
  }

  private func isThere(_ id: InstanceID, _ invocation: InvocationID) async throws(LaunchError) -> Bool {
    guard let state = try await status(of: id)?.state else { return false }
    return state.invocationID == invocation.text && !state.hasEnded
  }

  // MARK: Changes

  func setNetwork(_ id: InstanceID, _ invocation: InvocationID, open: Bool) async throws(LaunchError) {
    guard let status = try await status(of: id), case .own(let unit) = read(status), unit.invocation == invocation,
      !status.state.hasEnded, unit.hasNetwork != open
    else { return }
    do throws(SystemdError) {
      let name = InstanceUnit.name(id)
      try await patiently { () throws(SystemdError) in
        try await bus.setProperties([.denyAddresses(!open)], of: name)
      }
    } catch {
      // It ended by itself, and is collected.
      guard error.code == .noSuchUnit else { throw LaunchError(error) }
    }
  }

  /// Whether systemd has a unit of that name, from a file or by what it sees.
  func isKnown(_ name: String) async throws(LaunchError) -> Bool {
    do throws(SystemdError) {
      _ = try await patiently { () throws(SystemdError) in try await bus.unitProperties(name) }
      return true
    } catch {
      guard error.code == .noSuchUnit else { throw LaunchError(error) }
      return false
    }
  }

  // MARK: References

  /// Keeps the unit's result readable after its end, with one reference: they are counted, a reload of systemd keeps
  /// them, and a restart of dbus takes them.
  func hold(_ id: InstanceID) async {
    try? await bus.unref(InstanceUnit.name(id))
    try? await bus.ref(InstanceUnit.name(id))
  }

  /// Lets an ended unit go, so that its name is free.
  func release(_ id: InstanceID) async {
    try? await bus.unref(InstanceUnit.name(id))
    try? await bus.resetFailedUnit(InstanceUnit.name(id))
  }

  private func patiently<Value: Sendable>(
    _ call: () async throws(SystemdError) -> Value
  ) async throws(SystemdError) -> Value {
    let deadline = ContinuousClock.now + Self.patience
    while true {
      do throws(SystemdError) {
        return try await call()
      } catch {
        guard error.code == .connectionLost, ContinuousClock.now < deadline, !Task.isCancelled else { throw error }
      }
      try? await Task.sleep(for: Self.pause)
    }
  }
}

extension LaunchError {
  init(_ error: SystemdError) {
    let code: Code =
      switch error.code {
      case .connectionLost, .closed, .cancelled: .unavailable
      case .timedOut: .timedOut
      default: .refused
      }
    self.init(code, error.description)
  }
}
