import GPUInventory
import Glibc
package import PoolCore
import Synchronization
import Systemd

/// Instances as transient units of a systemd, which go on when the pool's processes end.
///
/// What it knows of a unit is always read from systemd: a change that is told only makes it look again, so that late,
/// repeated and lost tellings do no harm. While the bus is away, orders wait for it.
package actor SystemdLauncher: Launcher {
  package enum Manager: String, Sendable {
    case system, user
  }

  struct Life: Equatable {
    var invocation: InvocationID
    /// nil for what was found or appeared.
    var specification: InstanceSpecification?
  }

  package nonisolated let description: String
  package nonisolated var startsAsOwnUser: Bool { manager == .user }
  package nonisolated let events: AsyncStream<LauncherEvent>
  let continuation: AsyncStream<LauncherEvent>.Continuation
  let units: UnitCalls
  private let manager: Manager
  private let owner: UnitOwner
  private let reader: ReaderProgram
  /// Between two attempts to connect.
  private static let pause = Duration.milliseconds(200)
  /// What runs, as far as the owner knows.
  var lives: [InstanceID: Life] = [:] { didSet { publishIDs() } }
  /// What is told of these meanwhile is not looked at.
  var starting: Set<InstanceID> = [] { didSet { publishIDs() } }
  /// Of both: those whose processes are this pool's.
  private let ids = Mutex<Set<InstanceID>>([])

  /// - Parameters:
  ///   - owner: whose units to look after.
  ///   - reader: what reads models ahead.
  ///   - patience: how long a systemd or a bus that is away just now is waited for.
  package static func connect(
    to manager: Manager, owner: UnitOwner, reader: ReaderProgram = ReaderProgram(), patience: Duration = .zero
  ) async throws(LaunchError) -> SystemdLauncher {
    let deadline = ContinuousClock.now + patience
    while true {
      do throws(SystemdError) {
        return try await attempt(manager, owner: owner, reader)
      } catch {
        guard error.code == .connectionLost, ContinuousClock.now < deadline, !Task.isCancelled else {
          throw LaunchError(error)
        }
      }
      try? await Task.sleep(for: pause)
    }
  }

  private static func attempt(
    _ manager: Manager, owner: UnitOwner, _ reader: ReaderProgram
  ) async throws(SystemdError) -> SystemdLauncher {
    let bus = try await SystemdBus.connect(
      to: manager == .system ? .system : .user, deadline: InstanceSpecification.stopGrace + .seconds(20))
    do throws(SystemdError) {
      let version = try await bus.version()
      let changes = try await bus.unitChanges(withPrefix: InstanceUnit.namePrefix)
      let launcher = SystemdLauncher(manager, bus, owner: owner, reader, version: version)
      // Ends when the bus is closed.
      Task { for await change in changes { await launcher.unitChanged(change) } }
      return launcher
    } catch {
      await bus.close()
      throw error
    }
  }

  private init(
    _ manager: Manager, _ bus: SystemdBus, owner: UnitOwner, _ reader: ReaderProgram, version: String
  ) {
    self.manager = manager
    self.reader = reader
    self.owner = owner
    units = UnitCalls(bus: bus, owner: owner, closesNetwork: manager == .system)
    description = "transient units of the \(manager.rawValue) manager (systemd \(version))"
    (events, continuation) = AsyncStream.makeStream()
  }

  package func close() async {
    continuation.finish()
    await units.bus.close()
  }

  // MARK: Orders

  package func existing() async throws(LaunchError) -> [FoundUnit] {
    var found: [FoundUnit] = []
    for id in try await units.list() {
      guard let status = try await units.status(of: id), status.state.isRunning || status.state.isEnding,
        case .own(let unit) = units.read(status)
      else { continue }
      await adopt(id, unit)
      found.append(FoundUnit(id: id, unit: unit, isEnding: status.state.isEnding))
    }
    return found
  }

  package func start(
    _ specification: InstanceSpecification, port: UInt16
  ) async throws(LaunchError) -> RunningInstance.Unit {
    let id = specification.id
    let properties = try await properties(of: specification, port: port)
    guard starting.insert(id).inserted else { throw LaunchError(.refused, "\(id) is being started already") }
    do throws(LaunchError) {
      let unit = try await units.start(specification, properties)
      record(id, unit, specification)
      starting.remove(id)
      await reconcile(id)
      return unit
    } catch {
      starting.remove(id)
      // The unit may run all the same, and what was told of it meanwhile was not looked at.
      await reconcile(id)
      throw error
    }
  }

  package func stop(_ id: InstanceID, _ invocation: InvocationID, kill: Bool) async throws(LaunchError) {
    try await units.stop(id, invocation, kill: kill)
    await reconcile(id)
  }

  package func setNetwork(_ id: InstanceID, _ invocation: InvocationID, open: Bool) async throws(LaunchError) {
    guard manager == .system else { return }
    try await units.setNetwork(id, invocation, open: open)
  }

  private func properties(
    of specification: InstanceSpecification, port: UInt16
  ) async throws(LaunchError) -> [UnitProperty] {
    // systemd denies a node that is missing without a word, and the instance would compute on the CPU.
    for node in specification.deviceNodes where !DeviceNode.exists(node) {
      throw LaunchError(
        .missingDevice,
        "\(node), which \(specification.id) needs, does not exist: "
          + (node == "/dev/nvidia-uvm" ? "'nvidia-modprobe -u -c=0' makes it" : "is the GPU's driver loaded?"))
    }
    switch manager {
    case .system:
      let account = try InstanceAccount.resolve(specification.user)
      let found = await Patience.files.answer(
        about: InstanceUnit.files(of: specification, as: account).joined(separator: ":")
      ) { [owner] in
        (
          mount: specification.missingMount(home: account.home),
          properties: InstanceUnit.properties(of: specification, port: port, owner: owner, as: account)
        )
      }
      guard let found else { throw specification.isSilent(home: account.home) }
      try InstanceUnit.environmentFile(of: specification, owner: owner).write()
      // systemd mounts what it knows of, and starts nothing without it.
      if let mount = found.mount, try await !units.isKnown(mount.unit) {
        throw LaunchError(of: specification.id, missing: mount)
      }
      return found.properties
    case .user:
      let home = try OwnAccount.home(ifNotAskedFor: specification.user)
      try await specification.checkMounts(home: home)
      return InstanceUnit.properties(of: specification, port: port, owner: owner, home: home)
    }
  }

  // MARK: Reading ahead

  package func readAhead(_ order: ReaderOrder) async throws(LaunchError) -> AsyncStream<ReaderMessage> {
    let program = try reader.executable()
    let account: InstanceAccount? = manager == .system ? try .resolve(order.user) : nil
    let connection = try ReaderConnection(order.models)
    // Links are followed, on whatever server.
    let found = await Patience.files.answer(about: "\(order.store):\(program)") { [owner] in
      ReaderUnit.properties(of: order, program: program, owner: owner, as: account, socket: connection.readers)
    }
    guard let found else {
      connection.giveUp()
      throw LaunchError(.timedOut, "the store \(order.store) does not answer")
    }
    do throws(SystemdError) {
      let result = try await units.bus.startTransientUnit(ReaderUnit.name, properties: found)
      connection.closeReaders()
      if result == .done { return connection.messages() }
    } catch {
      connection.giveUp()
      throw LaunchError(error)
    }
    connection.close()
    throw LaunchError(.ended, "\(program) did not start: see `journalctl -u \(ReaderUnit.name)`")
  }

  // MARK: Processes

  package nonisolated func instance(ofProcess processID: Int32, readsArguments: Bool) -> ProcessOwner {
    switch ProcessFiles.unit(of: processID) {
    case .unit(let id, ofUserManager: let isUsers)? where isUsers == (manager == .user) && isOwn(id): .instance(id)
    case .unit?, .noInstance?: .other(processID, readsArguments: readsArguments)
    case nil: .unknown
    }
  }

  private nonisolated func isOwn(_ id: InstanceID) -> Bool { ids.withLock { $0.contains(id) } }

  private func publishIDs() {
    let new = starting.union(lives.keys)
    ids.withLock { $0 = new }
  }

  // MARK: What happens

  private func unitChanged(_ change: UnitChange) async {
    switch change {
    case .changed(let state):
      guard let id = InstanceUnit.id(ofUnit: state.name) else { return }
      let isKnown = state.invocationID != nil && lives[id]?.invocation.text == state.invocationID
      if state.isRunning && !isKnown || state.hasEnded && isKnown { await reconcile(id) }
    case .removed(let name):
      if let id = InstanceUnit.id(ofUnit: name), lives[id] != nil { await reconcile(id) }
    case .overflowed, .reloaded:
      await reconcileAll()
    case .reconnected:
      // A new connection holds no references. An old one keeps them, and to take them anew would leave a moment
      // without.
      for id in lives.keys.sorted() { await units.hold(id) }
      await reconcileAll()
      continuation.yield(.reconnected)
    }
  }

  private func reconcileAll() async {
    let there = (try? await units.list()) ?? []
    for id in Set(lives.keys).union(there).sorted() { await reconcile(id) }
  }

  /// Holds what is known of a unit against what systemd says of it, and tells the difference.
  private func reconcile(_ id: InstanceID) async {
    let known = lives[id]
    // What can't be read now will be told again when the bus is back.
    guard !starting.contains(id), case .success(let status) = await units.lookAt(id) else { return }
    guard lives[id] == known, !starting.contains(id) else { return }
    let unit = status.flatMap { $0.state.isRunning ? units.read($0).ownUnit : nil }
    if let known {
      let isOther = status?.state.invocationID != known.invocation.text
      guard isOther || status?.state.hasEnded == true else { return }
      lives[id] = nil
      var reason = "its unit was stopped or started anew by somebody else"
      if let state = status?.state, !isOther { reason = await units.reason(state, id, known.specification) }
      if unit == nil { await units.release(id) }
      continuation.yield(.ended(id, known.invocation, reason: reason))
    }
    guard let unit, lives[id] == nil, !starting.contains(id) else { return }
    await adopt(id, unit)
    continuation.yield(.appeared(id, unit))
  }

  private func adopt(_ id: InstanceID, _ unit: RunningInstance.Unit) async {
    guard lives[id]?.invocation != unit.invocation else { return }
    record(id, unit, nil)
    await units.hold(id)
  }

  private func record(_ id: InstanceID, _ unit: RunningInstance.Unit, _ specification: InstanceSpecification?) {
    if let old = lives[id], old.invocation != unit.invocation {
      continuation.yield(.ended(id, old.invocation, reason: "another start took its place"))
    }
    lives[id] = Life(invocation: unit.invocation, specification: specification ?? lives[id]?.specification)
  }
}

extension UnitState {
  var isRunning: Bool { activeState == .active || activeState == .reloading }
  var isEnding: Bool { activeState == .deactivating }
  var hasEnded: Bool { activeState == .inactive || activeState == .failed }
}
