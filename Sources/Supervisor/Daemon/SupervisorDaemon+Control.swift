import ControlInterface
import GPUInventory
import OrderedCollections
import PoolConfiguration
import PoolCore
import Varlink

/// The users who were refused something lately: who asks over and over is told of now and then.
struct Refusals {
  private static let window = Duration.seconds(10)
  private var told: [UInt32: Instant] = [:]

  mutating func isNews(_ userID: UInt32, at now: Instant) -> Bool {
    told = told.filter { now - $0.value < Self.window }
    guard told[userID] == nil else { return false }
    told[userID] = now
    return true
  }
}

/// What operators ask and order.
extension SupervisorDaemon {
  func answer(_ method: SupervisorInterface.Method, _ call: VarlinkCall) async {
    do throws(VarlinkErrorReply) {
      switch method {
      case .getStatus: call.reply(SupervisorCalls.StatusReply(status: status(await inventory.latest())))
      case .watch: await watch(call)
      case .explain:
        call.reply(SupervisorCalls.ExplainReply(decisions: decisions.decisions(at: MonotonicClock.now)))
      case .setScale: try setScale(call)
      case .cordonGPU: try cordon(call)
      case .uncordonGPU: try uncordon(call)
      case .drainInstance:
        try order(call) { (fleet, id, deadline, now) throws(OrderRefusal) in
          try fleet.drain(id, deadline: deadline, at: now)
        }
      case .restartInstance:
        try order(call) { (fleet, id, deadline, now) throws(OrderRefusal) in
          try fleet.restart(id, deadline: deadline, at: now)
        }
      case .reload: try await reload(call)
      }
    } catch {
      call.fail(error)
    }
  }

  // MARK: Orders

  private func setScale(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    let order = try call.parameters(as: SupervisorCalls.SetScale.self)
    let problem = StandingOrders.Scale.problem(
      minimum: order.min, maximum: order.max, fixed: order.fixed, forSeconds: order.forSeconds,
      configuredMaximum: plan.settings.scaling.max ?? .max)
    if let problem { throw VarlinkErrorReply(ControlError.invalidScale, ["reason": .string(problem)]) }
    let minimum = order.fixed ?? order.min
    let maximum = order.fixed ?? order.max
    let time = order.forSeconds.map { Duration.seconds(rounding: $0) }
    var kept = orders
    kept.scale =
      minimum == nil && maximum == nil
      ? nil
      : StandingOrders.Scale(
        minimum: minimum, maximum: maximum, until: order.forSeconds.map { MonotonicClock.wallSeconds + $0 })
    storeOrders(kept)
    apply(.order(userID: call.peer.userID)) { fleet, now in
      fleet.setScale(minimum: minimum, maximum: maximum, until: time.map { now + $0 }, at: now)
    }
    replyWhenKept(call)
  }

  private func cordon(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    let wish = try call.parameters(as: SupervisorCalls.CordonGPU.self)
    let reason = try Self.reason(wish.reason)
    if let time = wish.forSeconds, !(time > 0 && time <= SupervisorCalls.CordonGPU.longest) {
      throw .invalidParameter("forSeconds")
    }
    let time = wish.forSeconds.map { Duration.seconds(rounding: $0) }
    try order(call, onGPU: wish.gpu) { (fleet, name, now) throws(OrderRefusal) in
      try fleet.cordon(name, reason: reason, until: time.map { now + $0 }, at: now)
    }
  }

  private func uncordon(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    let gpu = try call.parameters(as: SupervisorCalls.UncordonGPU.self).gpu
    try order(call, onGPU: gpu) { (fleet, name, now) throws(OrderRefusal) in try fleet.uncordon(name, at: now) }
  }

  /// - Parameter name: a placement, a GPU by its UUID or as `gpu2`, or one that is divided, for all of its slices.
  private func order(
    _ call: VarlinkCall, onGPU name: String,
    _ event: (inout Fleet, String, Instant) throws(OrderRefusal) -> [FleetAction]
  ) throws(VarlinkErrorReply) {
    let label = name.hasPrefix("gpu") ? String(name.dropFirst("gpu".count)) : name
    let uuids = plan.placements.labels.uuids(of: label, in: plan.inventory.gpus)
    let isPlacement = fleet.placements[InstanceID(name)] != nil
    for name in isPlacement || uuids.isEmpty ? [name] : uuids {
      let refusal = apply(order: call) { (fleet, now) throws(OrderRefusal) in try event(&fleet, name, now) }
      if refusal != nil { throw VarlinkErrorReply(ControlError.noSuchGPU, ["gpu": .string(name)]) }
    }
    replyWhenKept(call)
  }

  private func order(
    _ call: VarlinkCall, _ event: (inout Fleet, InstanceID, Instant?, Instant) throws(OrderRefusal) -> [FleetAction]
  ) throws(VarlinkErrorReply) {
    let order = try call.parameters(as: SupervisorCalls.InstanceOrder.self)
    if let timeout = order.timeoutSeconds, !(0...SupervisorCalls.InstanceOrder.longestTimeout ~= timeout) {
      throw .invalidParameter("timeoutSeconds")
    }
    let refusal = apply(order: call) { (fleet, now) throws(OrderRefusal) in
      try event(&fleet, InstanceID(order.id), order.timeoutSeconds.map { now + .seconds(rounding: $0) }, now)
    }
    switch refusal {
    case nil: replyWhenKept(call)
    case .nothingOfThatName: throw VarlinkErrorReply(ControlError.noSuchInstance, ["id": .string(order.id)])
    case .cannotStart(let reason):
      throw VarlinkErrorReply(ControlError.cannotStart, ["id": .string(order.id), "reason": .string(reason)])
    }
  }

  private func reload(_ call: VarlinkCall) async throws(VarlinkErrorReply) {
    do throws(ConfigurationError) {
      try await reload()
      call.reply()
    } catch {
      throw VarlinkErrorReply(
        ControlError.invalidConfiguration,
        ["problems": .array(error.description.split(separator: "\n").map { .string(String($0)) })])
    }
  }

  /// - Returns: why the core does not take it.
  private func apply(
    order call: VarlinkCall, _ event: (inout Fleet, Instant) throws(OrderRefusal) -> [FleetAction]
  ) -> OrderRefusal? {
    var refusal: OrderRefusal?
    apply(.order(userID: call.peer.userID)) { fleet, now in
      do throws(OrderRefusal) { return try event(&fleet, now) } catch {
        refusal = error
        return []
      }
    }
    return refusal
  }

  /// An order that was answered with yes outlives a crash.
  private func replyWhenKept(_ call: VarlinkCall) {
    state.afterwards(.orders) { error in
      guard let error else { return call.reply() }
      call.fail(VarlinkErrorReply(ControlError.notStored, ["reason": .string(error.message)]))
    }
  }

  /// One line of reasonable length: it stands in tables.
  private static func reason(_ text: String) throws(VarlinkErrorReply) -> String {
    guard text.utf8.count <= SupervisorCalls.CordonGPU.longestReason,
      !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
    else { throw .invalidParameter("reason") }
    return text.isEmpty ? "an operator's order" : text
  }
}
