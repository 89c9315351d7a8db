import OrderedCollections
import PoolCore

/// Clients, instances and systemd.
extension PoolSimulation {
  mutating func handle(_ event: Event) {
    switch event {
    case .arrives(let id):
      guard results[id] == nil else { return }
      guard dispatch != nil else { return waitingInSocket.append(id) }
      arrive(id)
    case .clientLeaves(let id):
      guard results[id] == nil else { return }
      waitingInSocket.removeAll { $0 == id }
      attempts[id] = nil
      finish(id, .cancelled)
      apply(dispatch: { $0.end(id, .cancelled, at: $1) })
    case .clientGoes(let id): suspend(id)
    case .clientReturns(let id): resume(id)
    case .firstByte(let id, let number): firstByte(id, number)
    case .answered(let id, let number): answered(id, number)
    case .attemptFails(let id, let number, let failure):
      guard let attempt = attempts[id], attempt.number == number else { return }
      fail(id, attempt, failure)
    case .instanceDies(let id, let invocation):
      die(id, invocation, reason: "killed")
    case .probeEnds(let id, let invocation, let life):
      guard life == dispatcherLife else { return }
      let result: Dispatch.ProbeResult = isAnswering(id, invocation) ? .answered : .missed
      apply(dispatch: { $0.probeEnded(id, invocation, result, at: $1) })
      scheduleTick()
    case .loadEnds(let id, let invocation, let model, let life):
      guard life == dispatcherLife else { return }
      loads[invocation] = nil
      shown[invocation, default: []].insert(model)
      apply(dispatch: { $0.loadEnded(id, invocation, model: model, failure: nil, at: $1) })
    case .listEnds(let id, let invocation, let list, let life):
      guard life == dispatcherLife else { return }
      let models = units[id]?.invocation == invocation ? list ?? units[id].map(self.list(of:)) : nil
      shown[invocation, default: []].formUnion((models ?? []).map(\.name))
      apply(dispatch: { $0.loadedListed(id, invocation, models, at: $1) })
    case .listStalls(let id, let invocation, let life):
      guard life == dispatcherLife else { return }
      apply(dispatch: { $0.loadedListed(id, invocation, nil, at: $1) })
    case .dispatcherTicks(let life):
      guard life == dispatcherLife, dispatch != nil, tickDue == now else { return }
      tickDue = nil
      let progress = progress
      for id in attempts.keys { accounts.answered(id, progress(id)?.answerTokens ?? 0, at: now) }
      apply(dispatch: { dispatch, now in dispatch.tick(at: now, progress: progress) })
      scheduleTick()
    case .pushDue(let life): push(life)
    case .observation(let observation, let session):
      guard session == self.session, isConnected else { return }
      apply { $0.observed(observation, at: $1) }
    case .setInstances(let set, let session, let to):
      guard to == dispatcherLife else { return }
      if let dispatch {
        let well = units.filter { id, unit in
          isAnswering(id, unit.invocation) && !isStalled(id) && !cut.contains(unit.invocation)
        }
        invariants.deregistered(by: set.instances, dispatch: dispatch, well: well)
      }
      apply(dispatch: { $0.setInstances(set, session: session, at: $1) })
    case .retire(let id, let invocation, let session, let to):
      guard to == dispatcherLife, dispatch != nil else { return }
      var answer = Dispatch.RetireAnswer.unknown
      apply(dispatch: {
        let (given, actions) = $0.retire(id, invocation, session: session, at: $1)
        answer = given
        return actions
      })
      send(.retireAnswer(id, invocation, answer, session: session), over: .dispatcherToSupervisor)
    case .retireAnswer(let id, let invocation, let answer, let session):
      guard session == self.session, isConnected else { return }
      apply { $0.retireAnswered(id, invocation, answer, at: $1) }
    case .unitStarts(let placement, let start): startUnit(placement, start)
    case .unitStops(let id, let invocation, let stop): stopUnit(id, invocation, stop)
    case .unitStopped(let id, let invocation): die(id, invocation, reason: "stopped")
    case .unitEnded(let id, let invocation, let reason):
      noteLeft(id, invocation)
      apply { $0.unitEnded(id, invocation, reason: reason, at: $1) }
      // With the placement's last unit an order to it may be forgotten.
      operators.placementsChanged(placements, units: units)
    case .networkOrderFailed(let id, let invocation, let open, let life):
      guard life == supervisorLife else { return }
      apply {
        $0.networkNotChanged(id, invocation, open: open, at: $1)
        return []
      }
    case .readerTells(let life): readerTells(life: life)
    case .supervisorTicks(let life):
      guard life == supervisorLife, fleet != nil else { return }
      apply { $0.tick(at: $1) }
      if !isLeaving, !isStopping {
        invariants.ticked(fleet, operators, at: now)
        noteWellGPUs()
        invariants.ticked(units, told: toldGPUs, settings.fleetLimits, supervisorSince: supervisorSince, at: now)
      }
      events.schedule(.supervisorTicks(life: life), at: now + .seconds(1))
    case .gpusAreRead(let life):
      guard life == supervisorLife, fleet != nil else { return }
      readGPUs()
      events.schedule(.gpusAreRead(life: life), at: now + .seconds(2))
    case .hangs, .linkBreaks, .linkReturns, .dispatcherRestarts, .dispatcherReturns, .supervisorRestarts,
      .supervisorLeaves, .supervisorReturns, .specificationChanges, .operatorOrders, .gpuChanges, .gpuRecovers,
      .orderChanges,
      .priorityChanges:
      misfortune(event)
    }
  }

  /// One timer, moved forward when something falls due earlier; an event at another time than `tickDue` is stale.
  mutating func scheduleTick() {
    guard let next = dispatch?.nextTick(at: now) else { return }
    let due = max(next, now + .milliseconds(1))
    if let tickDue, tickDue <= due { return }
    tickDue = due
    events.schedule(.dispatcherTicks(life: dispatcherLife), at: due)
  }

  private mutating func push(_ life: Int) {
    guard life == dispatcherLife, isConnected, let dispatch else { return }
    let due = pacing.nextPush(at: now)
    if due > now { return }
    pacing.pushed(at: now)
    self.dispatch?.startNewPeak()
    if self.dispatch?.revision != dispatch.revision { pacing.changed() }
    send(.observation(dispatch.observation(at: now), session: session), over: .dispatcherToSupervisor)
    events.schedule(.pushDue(life: life), at: pacing.nextPush(at: now))
  }

  func isStalled(_ id: InstanceID) -> Bool { units[id]?.stalledAt != nil }

  // MARK: Units

  private mutating func startUnit(_ placement: Placement, _ start: UnitStart) {
    let id = placement.id
    let faults = isCalm ? SimulationSettings.Faults() : settings.faults
    let isAwaited = start.by == supervisorLife && fleet != nil
    if isAwaited {
      // The launcher has one start of a name at a time: what came through meanwhile was its answer.
      guard case .launching(_, start.orderedAt) = fleet?.placements[id]?.life else { return }
    }
    if let unit = units[id] {
      // systemd refuses a second unit of a name; the launcher takes the one that is there, or waits for its end.
      guard isAwaited else { return }
      if unit.isStopping { return after(settings.unitStart, .unitStarts(placement, start)) }
      let running = runningUnit(unit)
      return apply { $0.unitStarted(id, running, at: $1) }
    }
    if isAwaited, random.happens(faults.startAnswersLost) {
      after(settings.unitStart, .unitStarts(placement, UnitStart(orderedAt: start.orderedAt)))
      return apply { $0.startFailed(id, reason: "systemd does not answer", at: $1) }
    }
    statistics.starts += 1
    invocations += 1
    if random.happens(faults.startFails) {
      if isAwaited { apply { $0.startFailed(id, reason: "exit status 1", at: $1) } }
      return
    }
    if isAwaited { invariants.begun(placement, start, units: units) } else { statistics.lateStarts += 1 }
    let unit = Unit(
      invocation: InvocationID("i\(invocations)"),
      answersFrom: random.happens(faults.neverAnswers) ? nil : now + random.duration(settings.discovery),
      placement: placement, startedAt: now, startedBy: isAwaited ? start.by : nil,
      errs: random.happens(faults.startsErring), isDegraded: random.happens(faults.startsDegraded))
    units[id] = unit
    tellFaults()
    // Also a start that an earlier supervisor had ordered: the launcher sees every unit of its pattern.
    let running = runningUnit(unit)
    apply { $0.unitStarted(id, running, at: $1) }
  }

  private mutating func stopUnit(_ id: InstanceID, _ invocation: InvocationID, _ stop: Stop) {
    guard let unit = units[id], unit.invocation == invocation else { return }
    statistics.stops += 1
    if case .kill = stop {
      if !cut.contains(invocation) { invariants.killed(id, attempts: attempts.filter { isServing($0.key) }) }
      return die(id, invocation, reason: "killed")
    }
    guard !unit.isStopping else { return }
    if case .empty = stop { invariants.stopped(id, attempts: attempts) }
    units[id]?.isStopping = true
    after(settings.unitStop, .unitStopped(id, invocation))
  }

  private mutating func die(_ id: InstanceID, _ invocation: InvocationID, reason: String) {
    guard let unit = units[id], unit.invocation == invocation else { return }
    units[id] = nil
    leaveMemory(of: unit)
    for (request, attempt) in attempts.sorted(by: { $0.key < $1.key })
    where attempt.instance == id && attempt.invocation == invocation { fail(request, attempt, .broken) }
    if fleet != nil { send(.unitEnded(id, invocation, reason: reason), over: .systemdToSupervisor) }
  }
}
