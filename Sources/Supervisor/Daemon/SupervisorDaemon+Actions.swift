import ControlInterface
import Glibc
import Launching
import OrderedCollections
import PoolConfiguration
import PoolCore
import Systemd
import Varlink

/// What takes time, and is done beside everything else.
enum Work: Sendable {
  case start(InstanceID, attempt: Int, launch: Int)
  case stop(InstanceID, InvocationID, kill: Bool)
  case answer(SupervisorInterface.Method, VarlinkCall)
  /// Tell the watchers, so much later.
  case push(after: Duration)
  /// What is ordered of an instance's way out to the network.
  case setNetwork(InstanceID)
  case release(hold: Int)
  case readGPUs
  /// Have models read into memory.
  case readAhead([String])
  case lookAtProgram
  case lookAtStore
  /// Somebody asked for what that user may not do.
  case tellRefused(SupervisorInterface.Method, userID: uid_t, processID: pid_t)
}

/// The starts that are under way.
struct Launches {
  /// The last start of each placement: the failure of an earlier one says nothing about it.
  private var numbers: [InstanceID: Int] = [:]
  /// What ended in a placement while a start was under way in it.
  private var ends: [InstanceID: (invocation: InvocationID, reason: String)] = [:]
  private var ports: [InstanceID: UInt16] = [:]

  mutating func begin(_ id: InstanceID) -> Int {
    ends[id] = nil
    ports[id] = nil
    numbers[id, default: 0] += 1
    return numbers[id, default: 0]
  }

  mutating func ended(_ id: InstanceID, _ invocation: InvocationID, reason: String) { ends[id] = (invocation, reason) }

  mutating func take(_ port: UInt16, for id: InstanceID) { ports[id] = port }

  /// What the last start in a placement was made with; nil while that is not decided.
  func port(of id: InstanceID) -> UInt16? { ports[id] }

  func isLast(_ launch: Int, of id: InstanceID) -> Bool { numbers[id] == launch }

  /// Why a unit that only now comes back from its start has ended already; nil while it runs.
  func end(of id: InstanceID, _ invocation: InvocationID) -> String? {
    ends[id].flatMap { $0.invocation == invocation ? $0.reason : nil }
  }
}

extension SupervisorDaemon {
  // MARK: Events and actions

  /// Applies an event to the core and has its actions carried out.
  /// - Parameter origin: where the event came from, if that is worth telling.
  func apply(_ origin: SupervisorEvent.Origin? = nil, _ event: (inout Fleet, Instant) -> [FleetAction]) {
    fleet.scaler.localTime = WeekTime(secondsSince1970: time(nil))
    let actions = event(&fleet, MonotonicClock.now)
    for action in actions { perform(action, origin) }
    keepOrders()
    keepFaults()
    if link.isConnected { link.send(fleet: fleetReport, at: MonotonicClock.now) }
    if !actions.isEmpty { watchersShouldKnow() }
  }

  private func perform(_ action: FleetAction, _ origin: SupervisorEvent.Origin?) {
    switch action {
    case .start(let id, let attempt): workQueue.yield(.start(id, attempt: attempt, launch: launches.begin(id)))
    case .stop(let id, let invocation, let kill): workQueue.yield(.stop(id, invocation, kill: kill))
    case .setInstances(let set): link.send(.setInstances(set))
    case .openNetwork(let id, let invocation, let open):
      setNetwork(id, NetworkOrders.Order(invocation: invocation, open: open, hold: open ? link.hold() : nil))
    case .retire(let id, let invocation): link.send(.retire(id, invocation))
    case .readAhead(let models): workQueue.yield(.readAhead(models))
    // A dispatcher that ends each session with the same refusal is told of once.
    case .report(.dispatcherFound) where link.refusal != nil: break
    case .report(.dispatcherLost) where link.isRepeated: break
    case .report(let report): tell(SupervisorEvent(report, of: fleet, origin: origin))
    }
  }

  func tell(_ event: SupervisorEvent) {
    decisions.add(event, at: MonotonicClock.now)
    options.journal.send(event.entry)
  }

  // MARK: Work

  func carryOut(_ item: Work) async {
    switch item {
    case .start(let id, let attempt, let launch): await start(id, attempt: attempt, launch: launch)
    case .stop(let id, let invocation, let kill): await stop(id, invocation, kill: kill)
    case .answer(let method, let call): await answer(method, call)
    case .push(let delay):
      do { try await Task.sleep(for: delay) } catch { return }
      await pushToWatchers()
    case .setNetwork(let id): await setNetwork(id)
    case .release(let hold):
      do { try await Task.sleep(for: Self.networkPatience) } catch { return }
      link.release(hold)
    case .readGPUs: await readGPUs()
    case .readAhead(let models): await readAhead(models)
    case .lookAtProgram: await lookAtProgram()
    case .lookAtStore: await lookAtStore()
    case .tellRefused(let method, let userID, let processID):
      guard refusals.isNews(userID, at: MonotonicClock.now) else { return }
      tell(
        SupervisorEvent(
          .permissionDenied, "user \(userID) (process \(processID)) may not call \(method.rawValue)",
          why: "only root and the pool's own user may change something"))
    }
  }

  /// How long the dispatcher is not told who writes the model store, so that its way out is open before.
  private static let networkPatience = Duration.seconds(1)

  private func setNetwork(_ id: InstanceID, _ order: NetworkOrders.Order) {
    if let hold = order.hold { workQueue.yield(.release(hold: hold)) }
    let (isFirst, superseded) = networkOrders.add(order, for: id)
    if let superseded { link.release(superseded) }
    if isFirst { workQueue.yield(.setNetwork(id)) }
  }

  private func setNetwork(_ id: InstanceID) async {
    while let order = networkOrders.next(for: id) {
      do throws(LaunchError) {
        try await launcher.setNetwork(id, order.invocation, open: order.open)
        networkOrders.succeeded(id)
      } catch {
        if Task.isCancelled { return }
        let what = order.open ? "has no way out to the network" : "still has a way out to the network"
        let why = "\(error.message); tried again every \(Fleet.networkPause.brief)"
        if networkOrders.failed(order, for: id) {
          tell(SupervisorEvent(.networkTrouble, "\(id) \(what)", why: why, instance: id))
        }
        apply {
          $0.networkNotChanged(id, order.invocation, open: order.open, at: $1)
          return []
        }
      }
      if let hold = order.hold { link.release(hold) }
    }
  }

  private func start(_ id: InstanceID, attempt: Int, launch: Int) async {
    do {
      let (specification, port) = try await prepareStart(id, attempt: attempt)
      started(id, try await launcher.start(specification, port: port), launch: launch)
    } catch {
      // Given up when the supervisor ends.
      if launches.isLast(launch, of: id), !Task.isCancelled { apply { $0.startFailed(id, reason: "\(error)", at: $1) } }
    }
  }

  private func started(_ id: InstanceID, _ unit: RunningInstance.Unit, launch: Int) {
    // An end may be told before its start comes back: of what the core has seen come and go it hears no more.
    guard launches.isLast(launch, of: id) else { return }
    let end = launches.end(of: id, unit.invocation)
    guard end == nil || fleet.placements[id]?.life.isLaunching == true else { return }
    apply { $0.unitStarted(id, unit, at: $1) }
    // By now systemd has mounted what its models are on.
    if plan.store?.isUnmounted == true { workQueue.yield(.lookAtStore) }
    if let end { apply { $0.unitEnded(id, unit.invocation, reason: end, at: $1) } }
  }

  private func readAhead(_ models: [String]) async {
    // What hangs there would hang the reader.
    guard let store = plan.store, !store.isUnmounted else { return apply { $0.readerEnded(nil, at: $1) } }
    do {
      var left = Set(models)
      let order = ReaderOrder(models: models, store: store.path, user: plan.settings.instanceUser)
      for await message in try await launcher.readAhead(order) {
        switch message {
        case .alive: apply { $0.readerTold(nil, at: $1) }
        case .outcome(let outcome):
          left.remove(outcome.model)
          apply { $0.readerTold(outcome, at: $1) }
        }
      }
      guard !Task.isCancelled else { return }
      let missing = left.sorted().joined(separator: ", ")
      let problem = left.isEmpty ? nil : "the reader ended before it was done with \(missing)"
      apply { $0.readerEnded(problem, at: $1) }
    } catch {
      apply { $0.readerEnded("\(error)", at: $1) }
    }
  }

  private func ended(_ id: InstanceID, _ invocation: InvocationID, _ reason: String) {
    launches.ended(id, invocation, reason: reason)
    // Whether its memory is free by now decides about the next start there.
    if fleet.placements[id]?.gpus.isEmpty == false { workQueue.yield(.readGPUs) }
    apply { $0.unitEnded(id, invocation, reason: reason, at: $1) }
    if fleet.placements[id] == nil { forgetVariables() }
  }

  /// Until the unit has ended, which comes as an event: what can't be stopped now must be stopped later, and where the
  /// end was missed, to stop it again makes the launcher look again.
  private func stop(_ id: InstanceID, _ invocation: InvocationID, kill: Bool) async {
    var pause = Duration.seconds(1)
    while fleet.placements[id]?.life.isStopping(invocation) == true, !Task.isCancelled {
      do throws(LaunchError) {
        try await launcher.stop(id, invocation, kill: kill)
      } catch {
        // The supervisor ends: the order was given, and its outcome is not waited for.
        if Task.isCancelled { return }
        tell(
          SupervisorEvent(
            .stopRefused, "\(id) can't be stopped", why: "\(error.message); tried again in \(pause.brief)",
            instance: id))
      }
      do { try await Task.sleep(for: pause) } catch { return }
      pause = min(pause * 2, .seconds(60))
    }
  }

  func followLauncher() async {
    for await event in launcher.events {
      switch event {
      case .ended(let id, let invocation, let reason): ended(id, invocation, reason)
      case .appeared(let id, let unit): apply { $0.unitStarted(id, unit, at: $1) }
      case .reconnected:
        tell(SupervisorEvent(.serviceManagerBack, "the connection to systemd is back"))
        // Starts that failed for want of it say nothing about their placements.
        apply { $0.forgetFailures(at: $1) }
      }
    }
  }

  // MARK: Time

  func keepTime() async {
    let clock = ContinuousClock()
    while true {
      do { try await clock.sleep(for: .seconds(1), tolerance: .milliseconds(100)) } catch { return }
      ticks += 1
      apply { $0.tick(at: $1) }
      if ticks % 10 == 0 {
        workQueue.yield(.lookAtProgram)
        storeAgain()
      }
      if ticks % (plan.storeIsThere ? 30 : 5) == 0 { workQueue.yield(.lookAtStore) }
      notifyAlive()
    }
  }
}

extension InstanceLife {
  var isLaunching: Bool { if case .launching = self { true } else { false } }

  fileprivate func isStopping(_ invocation: InvocationID) -> Bool {
    if case .stopping(let instance, _) = self { instance.unit.invocation == invocation } else { false }
  }
}
