import ControlInterface
import GPUInventory
import Launching
import NIOCore
import OrderedCollections
import PoolConfiguration
import PoolCore
import Systemd
import Varlink

/// The supervisor's shell: it owns the fleet's decisions, and carries them out.
///
/// `apply` is the only way to the core: an event goes in, actions come out. What takes time becomes ``Work``, which
/// `run` does in child tasks of one group, and comes back as an event.
///
/// - here: composition, start and stop;
/// - `+Actions`: events, actions and work;
/// - `+Plan`: settings, GPUs, program and model store to placements; reload;
/// - `+GPUs`: what the GPUs' drivers say;
/// - `+Link`: what the dispatcher says;
/// - `+Control`, `+Status`: what operators ask and order.
package actor SupervisorDaemon {
  /// What becomes of the instances when the supervisor stops.
  package enum InstancesAtStop: Sendable {
    /// They go on; the next supervisor adopts them. What was only just started is taken back.
    case leave
    /// They are stopped and waited for. Whoever wants no request cut drains the dispatcher first.
    case stop
  }

  let options: SupervisorOptions
  let launcher: any Launcher
  /// How instances are started, and why so, for people.
  package nonisolated let launching: String
  let inventory: InventoryCache
  /// For who is on the GPUs.
  let processPatience = Patience()
  let state: StateDirectory
  let startedAt = MonotonicClock.now
  let work: AsyncStream<Work>
  let workQueue: AsyncStream<Work>.Continuation

  var fleet: Fleet
  var plan: CurrentPlan
  var orders: StandingOrders
  /// Those to instances, as the core had them when they were stored last.
  var storedOrders: [InstanceID: OperatorOrder] = [:]
  var decisions = DecisionLog()
  var watchers = Watchers()
  var link = LinkState()
  var launches = Launches()
  var networkOrders = NetworkOrders()
  var refusals = Refusals()
  /// By number: the last that was begun, and the last that was put into force.
  var reloads = (begun: 0, taken: 0)
  var ticks = 0
  /// GPUs that only a reset brings back, as they were stored last.
  var storedFaults: [String: GPUFault] = [:]
  var lastNotifiedStatus = ""
  var lastSeenProgram: Result<OllamaExecutable, LaunchError>?
  /// The GPUs as they were last read, with those that are away; nil where nobody has read them since the plan changed.
  var lastReading: Inventory?
  var gpuFaultCounts = GPUFaultCounts()
  private var server: VarlinkServer?
  private var running: Task<Void, Never>?

  private init(
    _ options: SupervisorOptions, launcher: any Launcher, inventory: InventoryCache, state: StateDirectory,
    plan: CurrentPlan, orders: StandingOrders, launching: String
  ) {
    self.launching = launching
    self.options = options
    self.launcher = launcher
    self.inventory = inventory
    self.state = state
    self.plan = plan
    self.orders = orders
    (work, workQueue) = AsyncStream.makeStream()
    fleet = Fleet(
      limits: plan.settings.fleetLimits, scaling: plan.settings.scaling.rule,
      startsWaitForDrain: options.notifiesServiceManager)
  }

  // MARK: Start

  /// Starts to supervise: adopts the units that run, and goes on by itself until ``stop(instances:)``.
  ///
  /// - Throws: `ConfigurationError` for placements that can't be, `SupervisorError`, `LaunchError` where there is no
  ///   launcher or the units that run can't be listed, `VarlinkError` for the control socket.
  package static func start(_ options: SupervisorOptions) async throws -> SupervisorDaemon {
    let settings = options.configuration.settings
    let state = options.state
    let inventory = InventoryCache(options.inventory)
    var troubles: [SupervisorEvent] = []
    func stored<Value: Decodable>(_ file: StateDirectory.File, or new: Value) -> Value {
      do throws(SupervisorError) { return try state.load(file) ?? new } catch {
        troubles.append(SupervisorEvent(.stateTrouble, "stored state is not used", why: error.message))
        return new
      }
    }
    let numbering = stored(.numbers, or: GPUNumbering())
    let faults = stored(.faults, or: GPUFaults([:], boot: ""))
    var orders = stored(.orders, or: StandingOrders())
    orders.expire(at: MonotonicClock.wallSeconds)

    // A driver that hangs must not cost the pool its supervisor: what runs is adopted, and the GPUs are asked again.
    let reading =
      await inventory.read(settings.gpuSource, within: options.gpuPatience)
      ?? .unanswered(within: options.gpuPatience)
    inventory.use(settings.gpuSource, reading)
    let (launcher, reason): (any Launcher, String?) =
      if let given = options.launcher {
        (given, nil)
      } else {
        try await settings.launcher.resolve(
          options.standIns, instanceUser: settings.instanceUser, owner: options.owner
        ).parts
      }
    do {
      let found = try await launcher.existing()
      let plan = CurrentPlan(
        options.configuration, reading, numbering: numbering, options.standIns,
        program: await OllamaExecutable.look(setting: settings.ollama, options.standIns),
        store: await options.store(settings, launcher),
        keeping: Dictionary(found.map { ($0.id, $0.unit.specification) }) { first, _ in first })
      let daemon = SupervisorDaemon(
        options, launcher: launcher, inventory: inventory, state: state, plan: plan, orders: orders,
        launching: launcher.description + (reason.map { " (\($0))" } ?? ""))
      try await daemon.begin(found, numbering, faults, troubles)
      return daemon
    } catch {
      await launcher.close()
      throw error
    }
  }

  private func begin(
    _ found: [FoundUnit], _ numbering: GPUNumbering, _ faults: GPUFaults, _ troubles: [SupervisorEvent]
  ) async throws {
    let alive = found.units { !$0.isEnding }
    let there = alive.isEmpty ? "" : "; \(counted(alive.count, "instance")) found running"
    tell(
      SupervisorEvent(
        .began, "supervisor \(options.version) begins", why: "\(launching); \(plan.description)\(there)"))
    troubles.forEach(tell)
    tellPlanProblems()
    if plan.store == nil { tellStore() }
    if plan.numbering != numbering { storeNumbering() }
    restoreOrders(faults)
    applyPlan()
    // Before anything is started: others may be on the GPUs.
    await readGPUs()
    apply { $0.began(found: alive, ending: found.units(where: \.isEnding), at: $1) }
    forgetVariables()
    let service = ControlService(
      administrators: ControlService.administrators(),
      handOn: { [workQueue] in workQueue.yield(.answer($0, $1)) },
      refused: { [workQueue] in workQueue.yield(.tellRefused($0, userID: $1.userID, processID: $1.processID)) })
    server = try await VarlinkServer.start(
      at: options.controlSocket, serving: [service],
      as: VarlinkService(
        vendor: "ollama-pool", product: "ollama-pool supervisor", version: options.version,
        url: ""), on: options.eventLoopGroup.next())
    running = Task { await run() }
    notifyReady()
  }

  /// Everything that goes on at the same time, until it is cancelled.
  private func run() async {
    await withDiscardingTaskGroup { group in
      group.addTask { await self.followLauncher() }
      group.addTask { await self.followDispatcher() }
      group.addTask { await self.keepTime() }
      group.addTask { await self.watchGPUs() }
      group.addTask { await self.followGPUEvents() }
      for await item in work { group.addTask { await self.carryOut(item) } }
      group.cancelAll()
    }
  }

  // MARK: Stop

  /// How long stopping may take beyond the grace that each instance has.
  private static let stopMargin = Duration.seconds(20)

  /// How long a start may take to come through before it is given up. Where the whole pool stops it can't come
  /// through any more: by its unit's Before= it waits for the dispatcher, which waits for this process.
  private static let startMargin = Duration.seconds(2)

  /// Ends the supervision. Once it has returned, nothing of it is left but, where they are left, the instances.
  package func stop(instances: InstancesAtStop) async {
    if options.notifiesServiceManager { ServiceManager.notifyStopping() }
    switch instances {
    case .leave:
      apply { $0.leave(at: $1) }
      await settled(within: Self.startMargin) {
        if case .launching = $0 { false } else { $0.instance?.isRetiring != true }
      }
      // Where the whole pool stops, systemd ends an instance only after this process: then the order is all it takes.
      await settled(within: .seconds(1)) { if case .stopping = $0 { false } else { true } }
    case .stop:
      apply { $0.stopAll(at: $1) }
      await settled(within: InstanceSpecification.stopGrace + Self.stopMargin) { $0 == .absent }
    }
    tell(
      SupervisorEvent(
        .ends, "supervisor ends",
        why: instances == .leave && !(launcher is ChildLauncher) ? "instances go on" : "instances are stopped"))
    running?.cancel()
    options.gpuEvents?.close()
    await running?.value
    await server?.close()
    await launcher.close()
    state.flush()
    state.close()
    options.journal.flush()
  }

  /// Waits until every placement's life is as wished, at the longest for `limit`.
  private func settled(within limit: Duration, _ isSettled: (InstanceLife) -> Bool) async {
    let clock = ContinuousClock()
    let deadline = clock.now + limit
    while !fleet.placements.values.allSatisfy({ isSettled($0.life) }), clock.now < deadline {
      do { try await clock.sleep(for: .milliseconds(10)) } catch { return }
    }
  }
}

extension Inventory {
  static func unanswered(within limit: Duration) -> Inventory {
    Inventory(
      source: .drivers,
      problems: [
        InventoryProblem(
          subject: "NVML",
          text: "the driver has not answered within \(limit.brief), and is asked again: see `nvidia-smi`")
      ])
  }
}

extension [FoundUnit] {
  fileprivate func units(where condition: (FoundUnit) -> Bool) -> [InstanceID: RunningInstance.Unit] {
    Dictionary(filter(condition).map { ($0.id, $0.unit) }) { first, _ in first }
  }
}

extension ResolvedLauncher {
  fileprivate var parts: (any Launcher, String?) { (launcher, reason) }
}
