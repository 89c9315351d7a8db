import OrderedCollections
import PoolCore

/// What goes wrong, and what people do meanwhile.
extension PoolSimulation {
  mutating func scheduleMisfortunes() {
    let faults = settings.faults
    again(faults.hangs, .hangs)
    again(faults.linkBreaks, .linkBreaks)
    again(faults.dispatcherRestarts, .dispatcherRestarts)
    again(faults.supervisorRestarts, .supervisorRestarts)
    again(faults.specificationChanges, .specificationChanges)
    again(faults.operatorOrders, .operatorOrders)
    again(faults.gpuChanges, .gpuChanges)
    again(faults.orderChanges, .orderChanges)
    again(faults.priorityChanges, .priorityChanges)
  }

  private mutating func again(_ mean: Duration?, _ event: Event) {
    guard let mean, !isCalm else { return }
    after(mean / 2...mean * 3 / 2, event)
  }

  mutating func misfortune(_ event: Event) {
    switch event {
    case .hangs:
      guard !isCalm else { return }
      if let id = units.keys.sorted().randomElement(using: &random), units[id]?.answersFrom != nil {
        units[id]?.answersFrom = now + random.duration(.seconds(2)...(.seconds(14)))
      }
      again(settings.faults.hangs, .hangs)
    case .linkBreaks:
      disconnect()
      after(.milliseconds(50)...(.seconds(3)), .linkReturns)
    case .linkReturns:
      connect()
      again(settings.faults.linkBreaks, .linkBreaks)
    case .dispatcherRestarts:
      guard !isCalm, dispatch != nil else { return }
      for id in dispatch?.requests.keys.sorted() ?? [] where results[id] == nil {
        if requests[id]?.isDurable == true { kept.insert(id) } else { results[id] = .connectionLost }
      }
      for entry in dispatch?.takeUsageChanges() ?? [] { keptUsage[entry.user, default: [:]][entry.minute] = entry }
      accounts.dispatcherDied()
      attempts = [:]
      dispatch = nil
      disconnect()
      after(.milliseconds(100)...(.seconds(3)), .dispatcherReturns)
    case .dispatcherReturns:
      startDispatcher()
      again(settings.faults.dispatcherRestarts, .dispatcherRestarts)
    case .supervisorRestarts:
      guard !isCalm, fleet != nil else { return }
      guard random.happens(0.5) else { return endSupervisor() }
      isLeaving = true
      apply { $0.leave(at: $1) }
      after(.milliseconds(10)...(.seconds(3)), .supervisorLeaves(life: supervisorLife))
    case .supervisorLeaves(let life):
      if life == supervisorLife, fleet != nil { endSupervisor() }
    case .supervisorReturns:
      startSupervisor()
      again(settings.faults.supervisorRestarts, .supervisorRestarts)
    case .specificationChanges:
      guard !isCalm else { return }
      changePlacements()
      again(settings.faults.specificationChanges, .specificationChanges)
    case .operatorOrders:
      guard !isCalm else { return }
      orderSomething()
      again(settings.faults.operatorOrders, .operatorOrders)
    case .gpuChanges:
      guard !isCalm else { return }
      changeGPU()
      again(settings.faults.gpuChanges, .gpuChanges)
    case .orderChanges:
      guard !isCalm else { return }
      changeOrder()
      again(settings.faults.orderChanges, .orderChanges)
    case .priorityChanges:
      guard !isCalm else { return }
      changePriority()
      again(settings.faults.priorityChanges, .priorityChanges)
    case .gpuRecovers(let index, let change): recoverGPU(index, change: change)
    default: break
    }
  }

  private mutating func endSupervisor() {
    fleet = nil
    isConnected = false
    let ended = session
    apply(dispatch: { $0.sessionEnded(ended, at: $1) })
    isLeaving = false
    after(.milliseconds(100)...(.seconds(5)), .supervisorReturns)
  }

  /// The configuration is read again, with another order of service.
  private mutating func changeOrder() {
    switch Int.random(in: 0..<3, using: &random) {
    case 0: dispatch?.limits.isFair.toggle()
    case 1: dispatch?.limits.aging = random.happens(0.5) ? random.duration(.seconds(5)...(.seconds(60))) : nil
    default:
      let weights = [0.5, 1, 2]
      let ids = requests.keys.sorted()
      for id in ids { requests[id]?.share.weight = weights.randomElement(using: &random) ?? 1 }
      let known = requests
      apply(dispatch: { $0.reclassify({ known[$0]?.share }, at: $1) })
    }
  }

  private mutating func changePriority() {
    guard let dispatch, let id = dispatch.requests.keys.sorted().randomElement(using: &random) else { return }
    let priority = Int.random(in: 0..<4, using: &random)
    guard self.dispatch?.setPriority(id, priority, at: now) == .changed else { return }
    invariants.moved(id, to: priority, dispatch: self.dispatch)
  }

  private mutating func changePlacements() {
    switch Int.random(in: 0..<5, using: &random) {
    case 0 where settings.gpus > 1: hasBigPlacement.toggle()
    case 2: arePinsCertain.toggle()
    case 1:
      // Until the next change some of the GPUs can't be asked.
      let some = placements.filter { _ in random.happens(0.5) }
      return apply { $0.placementsChanged(some, areAll: false, at: $1) }
    default: specification += 1
    }
    operators.placementsChanged(placements, units: units)
    apply { [placements] in $0.placementsChanged(placements, at: $1) }
  }

  private mutating func orderSomething() {
    guard let placement = placements.randomElement(using: &random) else { return }
    let id = placement.id
    let deadline = random.happens(0.3) ? now + random.duration(.zero...(.seconds(20))) : nil
    switch Int.random(in: 0..<6, using: &random) {
    case 0:
      order { (fleet, now) throws(OrderRefusal) in
        try fleet.drain(id, deadline: deadline, at: now)
      } remember: { operators, _ in
        operators.drained(placement, deadline)
      }
    case 1:
      order { (fleet, now) throws(OrderRefusal) in
        try fleet.restart(id, deadline: deadline, at: now)
      } remember: { operators, fleet in
        operators.restarted(fleet.placements[id]?.life.instance?.unit.invocation, deadline)
      }
    case 2:
      order { (fleet, now) throws(OrderRefusal) in
        try fleet.cordon(id.name, reason: "training", at: now)
      } remember: { operators, _ in
        operators.cordoned(placement)
      }
    case 3:
      let (one, other) = (Int.random(in: 0...4, using: &random), Int.random(in: 0...4, using: &random))
      apply { $0.setScale(minimum: min(one, other), maximum: max(one, other), until: deadline, at: $1) }
    default:
      order { (fleet, now) throws(OrderRefusal) in
        try fleet.uncordon(id.name, at: now)
      } remember: { operators, _ in
        operators.uncordoned(placement)
      }
    }
  }
}
