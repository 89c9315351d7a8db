import OrderedCollections
import PoolCore

package struct InvariantViolation: Error, Hashable, CustomStringConvertible {
  package var description: String
}

/// What is always true of the pool, checked after every step from the outside: against the model of the world where
/// the cores can't be asked, against a recount where they can.
struct Invariants: Sendable {
  /// Found while an event was carried out; thrown after it.
  private var broken: String?

  // MARK: Noted while it happens

  /// "None is started twice in a placement", and none where an operator has forbidden it.
  mutating func ordered(start placement: Placement, units: [InstanceID: PoolSimulation.Unit], _ operators: Operators) {
    if let unit = units[placement.id], !unit.isStopping {
      note("\(placement.id) was started while \(unit.invocation) runs there")
    }
    if operators.forbidStart(in: placement) { note("\(placement.id) was started although it is cordoned") }
  }

  /// Two readers would share the disk.
  mutating func sentReader(for models: [String], whileAnotherIsOut isOut: Bool) {
    if isOut { note("a reader was sent for \(models) while another one was out") }
  }

  mutating func ordered(startOfUnconfigured id: InstanceID) {
    note("\(id) was started although it is not configured")
  }

  /// No two placements' instances on one GPU, except where a start came through that no supervisor knew of.
  mutating func begun(
    _ placement: Placement, _ start: PoolSimulation.UnitStart, units: [InstanceID: PoolSimulation.Unit]
  ) {
    for (id, unit) in units
    where unit.placement.gpus.contains(where: placement.gpus.contains)
      && (unit.startedBy == start.by || unit.startedAt <= start.orderedAt)
    {
      note("\(placement.id) was started on a GPU that \(id) has")
    }
  }

  /// What an operator drains gets no more work, and nothing else drains in an operator's name.
  mutating func told(_ set: [WantedInstance], _ operators: Operators) {
    for wanted in set {
      if operators.drains[wanted.id] != nil, ![.draining, .out].contains(wanted.role) {
        note("\(wanted.id) is \(wanted.role) although an operator drains it")
      }
      if wanted.reason == DrainReason.operatorDrain.description, !operators.mayDrain(wanted.id) {
        note("\(wanted.id) drains although no operator wants that")
      }
    }
  }

  /// What was to be gone by now is being stopped.
  mutating func ticked(_ fleet: Fleet?, _ operators: Operators, at now: Instant) {
    for (id, deadline) in operators.drains {
      guard let deadline, deadline <= now, fleet?.placements[id]?.running != nil else { continue }
      note("\(id) still runs, and was to be stopped by \(deadline.nanoseconds) ns")
    }
  }

  /// "The order of service": what starts now has nobody before it who could have started there.
  mutating func started(_ id: RequestID, on instance: InstanceID, dispatch: Dispatch?) {
    guard let dispatch else { return }
    var order = dispatch.order
    guard let own = order.lastKey(of: id) else { return }
    // Past what was put back, which may wait for another instance.
    let first = order.waiting.first { dispatch.requests[$0]?.failedOn.isEmpty == true }
    guard let first, let key = order.key(of: first) else { return }
    let isPlain = !dispatch.limits.isFair && key.level == own.level
    guard isPlain ? first < id : key < own else { return }
    guard let record = dispatch.requests[first], record.failedOn.isEmpty else { return }
    guard var before = dispatch.instances[instance] else { return }
    before.leases.remove(id)
    before.unbegun.remove(id)
    guard before.wanted.serves(record.request.model), dispatch.intake(of: before).takes(record.request.kind) else {
      return
    }
    note("request \(id) started before request \(first), whose turn it was")
  }

  /// "Every accepted request ends exactly once."
  mutating func ended(_ id: RequestID, before: PoolSimulation.RequestResult?) {
    if let before { note("request \(id) ended twice, first as \(before)") }
  }

  /// "No scale-down cuts a request."
  mutating func stopped(_ id: InstanceID, attempts: [RequestID: PoolSimulation.Attempt]) {
    if let cut = attempts.first(where: { $0.value.instance == id }) { note("the stop of \(id) cut request \(cut.key)") }
  }

  /// The same, seen from the dispatcher: an instance that is well leaves the set only when it holds nothing.
  mutating func deregistered(
    by set: [WantedInstance], dispatch: Dispatch, well: [InstanceID: PoolSimulation.Unit]
  ) {
    for (id, instance) in dispatch.instances where !instance.isIdle {
      let invocation = instance.wanted.invocation
      guard well[id]?.invocation == invocation, !set.contains(where: { $0.id == id && $0.invocation == invocation })
      else {
        continue
      }
      note("\(id) was deregistered although it is well and serves \(instance.leases.count) requests")
    }
  }

  mutating func note(_ text: String) { broken = broken ?? text }

  // MARK: Checked after each step

  mutating func check(_ world: PoolSimulation, after event: PoolSimulation.Event) throws(InvariantViolation) {
    if let dispatch = world.dispatch {
      check(dispatch)
      check(dispatch, world.accounts, step: world.statistics.steps, at: world.now)
      check(dispatch, waitingSince: world.waitingSince, world.settings.dispatchLimits, at: world.now)
    }
    if let broken { throw InvariantViolation(description: "\(broken); at \(world.now.nanoseconds) ns, after \(event)") }
  }

  private mutating func check(_ dispatch: Dispatch) {
    var inFlight = 0
    for (id, instance) in dispatch.instances {
      if instance.leases.count > instance.wanted.slots { note("\(id) has more leases than slots") }
      inFlight += instance.leases.count
      for lease in instance.leases {
        guard case .assigned(id, instance.wanted.invocation, _, _) = dispatch.requests[lease]?.phase else {
          note("\(id) holds a lease of request \(lease), which is not there")
          continue
        }
      }
      let unbegun = instance.leases.filter {
        if case .assigned(_, _, _, nil) = dispatch.requests[$0]?.phase { true } else { false }
      }
      if instance.unbegun != unbegun { note("\(id) is wrong about which of its requests have not begun") }
    }
    // Whoever is put back stands before all that came later.
    let line = dispatch.queue.count <= 64 ? dispatch.queue.waiting : []
    if let (earlier, later) = zip(line, line.dropFirst()).first(where: { $0 > $1 }) {
      note("request \(earlier) stands before request \(later), which came earlier")
    }
    let inRotation = dispatch.instances.values.filter {
      $0.health == .healthy && $0.retiredBy == nil && [.core, .surplus].contains($0.wanted.role)
    }
    let free = inRotation.filter { $0.leases.count < $0.wanted.slots }
    var waiting = 0
    var assigned = 0
    for (id, record) in dispatch.requests {
      guard record.request.need == .slot else {
        check(id, record, dispatch, inRotation)
        continue
      }
      switch record.phase {
      case .waiting:
        waiting += 1
        if !dispatch.queue.isWaiting(id) || !dispatch.order.isWaiting(id) {
          note("request \(id) waits, but not in the queue")
        }
        // An instance that failed it may serve it only where all have.
        let untried = inRotation.filter {
          $0.wanted.serves(record.request.model) && !record.failedOn.contains($0.wanted.id)
        }
        if free.contains(where: {
          $0.wanted.serves(record.request.model) && dispatch.intake(of: $0).takes(record.request.kind)
            && (untried.isEmpty || !record.failedOn.contains($0.wanted.id))
        }) {
          note("a free slot beside request \(id), which may use it")
        }
      case .assigned: assigned += 1
      case .suspended: break
      }
    }
    if waiting != dispatch.order.count { note("\(waiting) requests wait, \(dispatch.order.count) have a turn") }
    if waiting != dispatch.queue.count { note("\(waiting) requests wait, the queue counts \(dispatch.queue.count)") }
    if assigned != inFlight { note("\(assigned) requests are assigned, the instances hold \(inFlight)") }
    let demand = dispatch.demand.values.reduce(into: (0, 0)) { $0 = ($0.0 + $1.waiting, $0.1 + $1.inFlight) }
    if demand != (waiting, inFlight) { note("demand by model sums to \(demand), not \((waiting, inFlight))") }
  }
}
