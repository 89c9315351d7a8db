import OrderedCollections
import PoolCore

/// The shells of both daemons, in virtual time: they carry out the cores' actions.
extension PoolSimulation {
  mutating func after(_ range: ClosedRange<Duration>, _ event: Event) {
    events.schedule(event, at: now + random.duration(range))
  }

  /// Over a wire: late, but never before what was sent earlier.
  mutating func send(_ event: Event, over wire: Wire) {
    let arrival = max(now + random.duration(settings.latency), lastArrival[wire] ?? .zero)
    lastArrival[wire] = arrival
    events.schedule(event, at: arrival)
  }

  // MARK: Dispatcher

  mutating func startDispatcher() {
    dispatcherLife += 1
    dispatch = Dispatch(limits: settings.dispatchLimits)
    dispatch?.restoreUsage(keptUsage.values.flatMap(\.values), at: now)
    shown = [:]
    loads = [:]
    pacing = PushPacing()
    tickDue = nil
    scheduleTick()
    let earlier = kept.sorted()
    kept = []
    for id in earlier { restore(id) }
    let waiting = waitingInSocket
    waitingInSocket = []
    for id in waiting { events.schedule(.arrives(id), at: now) }
    connect()
  }

  mutating func connect() {
    guard dispatch != nil, fleet != nil, !isConnected else { return }
    isConnected = true
    session += 1
    pacing = PushPacing()
    apply { $0.dispatcherConnected(at: $1) }
    events.schedule(.pushDue(life: dispatcherLife), at: now)
  }

  mutating func disconnect() {
    guard isConnected else { return }
    isConnected = false
    apply { $0.dispatcherLost(at: $1) }
    let ended = session
    apply(dispatch: { $0.sessionEnded(ended, at: $1) })
  }

  /// Applies an event to the dispatcher's core and carries out its actions. Those of an event that comes meanwhile
  /// follow, as in the shell.
  mutating func apply(dispatch event: (inout Dispatch, Instant) -> [DispatchAction]) {
    guard let before = dispatch?.revision else { return }
    let actions = event(&dispatch!, now)
    for case .start(let id, let instance) in actions where requests[id]?.need == .slot {
      invariants.started(id, on: instance, dispatch: dispatch)
    }
    pending.append(contentsOf: actions)
    if !isCarryingOut {
      isCarryingOut = true
      while !pending.isEmpty { perform(pending.removeFirst()) }
      isCarryingOut = false
    }
    scheduleTick()
    guard dispatch?.revision != before else { return }
    pacing.changed()
    if isConnected { events.schedule(.pushDue(life: dispatcherLife), at: max(now, pacing.nextPush(at: now))) }
  }

  private mutating func perform(_ action: DispatchAction) {
    switch action {
    case .start(let id, let instance): attempt(id, on: instance)
    case .withdraw(let id): withdraw(id)
    case .end(let id, let outcome, _): end(id, outcome)
    case .lifted: break
    case .probe(let id, let invocation):
      let answers = isAnswering(id, invocation)
      let delay =
        answers ? settings.latency : settings.dispatchLimits.probeTimeout...settings.dispatchLimits.probeTimeout
      let isThere = units[id]?.invocation == invocation
      after(isThere ? delay : settings.latency, .probeEnds(id, invocation, life: dispatcherLife))
    case .load(let id, let invocation, let model):
      loads[invocation] = model
      let kind = DispatchRequest.Kind(model: model)
      let ready = use(kind, on: id, invocation) ?? now
      let end = max(ready, now + random.duration(settings.latency))
      events.schedule(.loadEnds(id, invocation, model: model, life: dispatcherLife), at: end)
    case .askLoaded(let id, let invocation): list(id, invocation)
    case .report(.instanceUnhealthy(let id, let reason, _, _)):
      invariants.condemned(id, reason, settings.dispatchLimits, units: units, results: results)
    case .report: break
    }
  }

  private mutating func list(_ id: InstanceID, _ invocation: InvocationID) {
    let faults = isCalm ? SimulationSettings.Faults() : settings.faults
    if random.happens(faults.evictions) { units[id]?.memory.evict(Int.random(in: 0..<3, using: &random)) }
    if random.happens(faults.listStalls) {
      let limit = settings.dispatchLimits.listTimeout
      return events.schedule(.listStalls(id, invocation, life: dispatcherLife), at: now + limit)
    }
    // What happens meanwhile is among it or not.
    let list = random.happens(0.5) ? units[id].map(list(of:)) : nil
    after(settings.latency, .listEnds(id, invocation, list: list, life: dispatcherLife))
  }

  /// - Returns: when the model is there; nil where there is no such unit.
  mutating func use(_ kind: DispatchRequest.Kind, on id: InstanceID, _ invocation: InvocationID) -> Instant? {
    guard kind.model != nil, units[id]?.invocation == invocation else { return nil }
    let time = random.duration(settings.load)
    return units[id]?.memory.use(kind, capacity: settings.loadedModels, load: time, at: now)
  }

  func isAnswering(_ id: InstanceID, _ invocation: InvocationID) -> Bool {
    guard let unit = units[id], unit.invocation == invocation, !unit.isStopping else { return false }
    return unit.answersFrom.map { $0 <= now } ?? false
  }

  // MARK: Supervisor

  mutating func startSupervisor() {
    supervisorLife += 1
    let earlier = stored
    var new = Fleet(limits: settings.fleetLimits, scaling: settings.scaling)
    new.restore(cordons: earlier.cordons, orders: earlier.orders, faults: earlier.faults)
    (toldGPUs, toldLeft, supervisorSince) = ([:], [:], now)
    tellFaults()
    new.scaler.override = earlier.bounds
    fleet = new
    apply { [placements] in $0.placementsChanged(placements, at: $1) }
    let found = units.filter { !$0.value.isStopping }.mapValues { runningUnit($0) }
    let ending = units.filter(\.value.isStopping).mapValues { runningUnit($0) }
    apply { $0.began(found: found, ending: ending, at: $1) }
    events.schedule(.supervisorTicks(life: supervisorLife), at: now + .seconds(1))
    after(.zero...(.seconds(2)), .gpusAreRead(life: supervisorLife))
    connect()
  }

  var placements: [Placement] {
    let big = hasBigPlacement ? [placement("big", on: "GPU-0", "GPU-1")] : []
    let first = hasBigPlacement ? 2 : 0
    return big + (first..<settings.gpus).map { placement(InstanceID("gpu\($0)"), on: "GPU-\($0)") }
  }

  private func placement(_ id: InstanceID, on gpus: String...) -> Placement {
    let models = gpus.count == 1 ? settings.reservedModels[Self.index(of: gpus[0])] : nil
    return Placement(
      id: id, gpus: gpus, slots: settings.slots, models: models ?? [],
      specification: "\(specification)." + (arePinsCertain ? Self.pins : ""))
  }

  private static let pins = "pins"
  /// Of what was started while no driver told them.
  private static let poorPins = "none"

  func runningUnit(_ unit: Unit) -> RunningInstance.Unit {
    let known = unit.placement.specification
    return RunningInstance.Unit(
      invocation: unit.invocation, mainPID: 1, address: "127.0.0.1:1",
      specification: known.hasSuffix(Self.pins) ? known : known + Self.poorPins, gpus: unit.placement.gpus,
      slots: unit.placement.slots,
      hasNetwork: unit.hasNetwork)
  }

  /// Applies an event to the supervisor's core and carries out its actions.
  mutating func apply(_ event: (inout Fleet, Instant) -> [FleetAction]) {
    guard fleet != nil, let actions = fleet.map({ _ in event(&fleet!, now) }) else { return }
    carryOut(actions)
  }

  /// The same for an operator's order.
  ///
  /// - Parameter remember: what the operator goes by from then on, unless the order is refused.
  mutating func order(
    _ event: (inout Fleet, Instant) throws(OrderRefusal) -> [FleetAction],
    remember: (inout Operators, Fleet) -> Void
  ) {
    guard fleet != nil, let actions = try? event(&fleet!, now), let fleet else { return }
    remember(&operators, fleet)
    carryOut(actions)
  }

  /// A model is read, and then the next, or the reader ends.
  mutating func readerTells(life: UInt64) {
    guard fleet != nil, life == supervisorLife, var (models, _) = reader else { return }
    let faults = isCalm ? SimulationSettings.Faults() : settings.faults
    if random.happens(faults.readersHang) {
      if random.happens(0.5) { return }
      models = []
    }
    if let model = models.first {
      models.removeFirst()
      reader = (models, life)
      let bytes = Int.random(in: 0...1, using: &random) << 30
      let outcome = ReadAhead.Outcome(model: model, size: 1 << 30, read: bytes, duration: .seconds(1))
      apply { $0.readerTold(outcome, at: $1) }
    }
    if models.isEmpty {
      reader = nil
      apply { $0.readerEnded(nil, at: $1) }
    } else {
      after(settings.reading, .readerTells(life: life))
    }
  }

  private mutating func carryOut(_ actions: [FleetAction]) {
    for action in actions { perform(action) }
    guard let fleet else { return }
    stored = Stored(
      cordons: fleet.cordons, bounds: fleet.scaler.override, orders: fleet.orders, faults: fleet.faultsToKeep)
  }

  private mutating func perform(_ action: FleetAction) {
    switch action {
    case .start(let id, _):
      guard let placement = placements.first(where: { $0.id == id }) else {
        return invariants.ordered(startOfUnconfigured: id)
      }
      invariants.ordered(start: placement, units: units, operators)
      invariants.ordered(
        start: placement, told: toldGPUs, faults: Set(fleet?.faultsToKeep.keys.map(\.self) ?? []), left: toldLeft,
        settings.fleetLimits, at: now)
      after(settings.unitStart, .unitStarts(placement, UnitStart(orderedAt: now, by: supervisorLife)))
    case .stop(let id, let invocation, let kill):
      let isForced =
        isStopping || operators.mayCut(id, invocation, at: now) || mayCutForGPU(id, invocation)
      if isForced { cut.insert(invocation) }
      send(.unitStops(id, invocation, kill ? .kill : isForced ? .forced : .empty), over: .supervisorToSystemd)
    case .setInstances(let set):
      invariants.told(set.instances, operators)
      invariants.told(set, fleet, units: units, settings.fleetLimits)
      send(
        .setInstances(set, session: session, to: dispatcherLife), over: .supervisorToDispatcher)
    case .retire(let id, let invocation):
      send(.retire(id, invocation, session: session, to: dispatcherLife), over: .supervisorToDispatcher)
    case .openNetwork(let id, let invocation, let isOpen):
      guard units[id]?.invocation == invocation else { return }
      let fails = !isCalm && random.happens(settings.faults.networkOrdersFail)
      units[id]?.hasNetworkTrouble = fails
      if fails {
        send(
          .networkOrderFailed(id, invocation, open: isOpen, life: supervisorLife), over: .systemdToSupervisor)
        if random.happens(0.5) { return }
      }
      if !isOpen { invariants.closedNetwork(of: id, requests: requests, attempts: attempts) }
      units[id]?.hasNetwork = isOpen
    case .readAhead(let models):
      invariants.sentReader(for: models, whileAnotherIsOut: reader?.life == supervisorLife)
      reader = (models, supervisorLife)
      after(settings.reading, .readerTells(life: supervisorLife))
    case .report(.draining(let id, .degraded)):
      invariants.degraded(id, units[id], fleet?.placements[id]?.running)
    case .report: break
    }
  }
}
