import Chat
import ControlInterface
import Gateway
import NIOCore
import OllamaAPI
import OrderedCollections
import PoolCore
import Varlink

/// What the control socket's peers have told and want to be told.
struct ControlState {
  /// One subscriber of `WatchQueue`.
  struct QueueWatcher {
    let call: VarlinkCall
    /// The highest peak of the pushes that it missed because it didn't read; nil while it keeps up.
    var missedPeak: Int?
  }

  /// One subscriber of `WatchCapacity`, with what it was told last.
  struct CapacityWatcher {
    let call: VarlinkCall
    var told: DispatcherCalls.WatchCapacityReply?
  }

  struct Timer {
    var due: Instant
    var task: Scheduled<Void>
  }

  var outside = OutsideQueues()
  var queueWatchers: [QueueWatcher] = []
  var capacityWatchers: [CapacityWatcher] = []
  var pacing = PushPacing()
  /// The core's revision that watchers were told to expect.
  var seenRevision = 0
  var pushTimer: Timer?
  /// The connection that brought the wanted set last.
  var supervisor: VarlinkConnectionID?
  /// What the supervisor told of what it alone knows, when, and over which connection.
  var fleet: (report: DispatcherCalls.ReportFleet, at: Instant, connection: VarlinkConnectionID)?
  /// Where clients reach the pool.
  var endpoints: [String] = []
  /// Where the metrics are; nil for nowhere.
  var metricsEndpoint: String?

  /// nil without a supervisor, and where it has said nothing for too long: what hangs knows nothing.
  func fleetReport(at now: Instant) -> DispatcherCalls.ReportFleet? {
    fleet.flatMap { now - $0.at < .seconds(DispatcherCalls.ReportFleet.lifetimeSeconds) ? $0.report : nil }
  }
}

extension DispatcherShell {
  /// Models that a push names at most, those with the most requests: clients make the names up.
  private static let pushedModels = 100

  // MARK: Orders

  func setInstances(_ set: WantedSet, from connection: VarlinkConnectionID, processID: Int32) {
    if control.supervisor != connection {
      control.supervisor = connection
      tell(.supervisorConnected(processID: processID, instances: set.instances.count))
    }
    for want in set.instances {
      facts[want.id] = InstanceFacts(
        invocation: want.invocation, address: want.address, gpus: want.gpus, slots: want.slots, maxConcurrent: 0)
    }
    addresses = Dictionary(
      uniqueKeysWithValues: set.instances.compactMap { want in
        InstanceAddress.parse(want.address).map { (want.id, $0) }
      })
    apply { core, now in core.setInstances(set, session: connection.value, at: now) }
    facts = facts.filter { core.instances[$0.key] != nil }
    for (id, load) in loads where core.instances[id]?.wanted.invocation != load.invocation {
      load.request.cancel()
    }
  }

  func retire(_ id: InstanceID, _ invocation: InvocationID, from connection: VarlinkConnectionID)
    -> Dispatch.RetireAnswer
  {
    var answer = Dispatch.RetireAnswer.unknown
    apply { core, now in
      let (given, actions) = core.retire(id, invocation, session: connection.value, at: now)
      answer = given
      return actions
    }
    return answer
  }

  /// - Returns: false if there is no such request.
  func cancel(_ id: RequestID, byUserID userID: UInt32) -> Bool {
    let facts = carried[id].map(requestFacts)
    let tokens = carried[id]?.exchange.answerTokens ?? 0
    var isKnown = false
    apply { core, now in
      let actions = core.cancel(id, tokens: tokens, at: now)
      isKnown = actions != nil
      return actions ?? []
    }
    if isKnown, let facts { tell(.requestCancelled(facts, byUserID: userID)) }
    return isKnown
  }

  func setPriority(_ priority: Int, of id: RequestID, byUserID userID: UInt32) -> Dispatch.PriorityAnswer {
    var answer = Dispatch.PriorityAnswer.unknown
    apply { core, now in
      answer = core.setPriority(id, priority, at: now)
      return []
    }
    if answer == .changed, let carried = carried[id] {
      chat?.moved(id, toPriority: priority)
      tell(.requestMoved(requestFacts(carried), priority: priority, byUserID: userID))
    }
    return answer
  }

  /// What the supervisor says of its own, for as long as its connection lives.
  func learn(_ report: DispatcherCalls.ReportFleet, from connection: VarlinkConnectionID) {
    control.fleet = (report, .now, connection)
    metrics.learn(report)
  }

  /// - Returns: false if this connection reports for too many front ends.
  func report(_ report: OutsideQueues.Report, from connection: VarlinkConnectionID) -> Bool {
    let before = control.outside.reports
    guard control.outside.report(report, session: connection.value) else { return false }
    if control.outside.reports != before { changed() }
    return true
  }

  func connectionClosed(_ connection: VarlinkConnectionID) {
    guard !isClosed else { return }
    let before = control.outside.reports
    control.outside.forget(session: connection.value)
    control.queueWatchers.removeAll { $0.call.connection == connection }
    control.capacityWatchers.removeAll { $0.call.connection == connection }
    if control.outside.reports != before { changed() }
    if control.fleet?.connection == connection { control.fleet = nil }
    apply { core, now in core.sessionEnded(connection.value, at: now) }
    if control.supervisor == connection {
      control.supervisor = nil
      // A pool that stops says so itself.
      if core.drainDeadline == nil { tell(.supervisorGone) }
    }
  }

  // MARK: Questions

  var queue: DispatcherTypes.Queue {
    var queue = DispatcherTypes.Queue(core, outside: control.outside, epoch: epoch, at: .now)
    if queue.models.count > Self.pushedModels {
      let pressing = Set(core.mostPressingModels(Self.pushedModels))
      queue.models.removeAll { !pressing.contains($0.model) }
    }
    return queue
  }

  var capacity: DispatcherCalls.WatchCapacityReply {
    DispatcherCalls.WatchCapacityReply(
      maxConcurrent: core.drainDeadline == nil ? core.maxConcurrent : 0, endpoints: control.endpoints)
  }

  /// In the order of arrival.
  var requests: [DispatcherTypes.Request] {
    let now = Instant.now
    let ids = (0..<min(core.index.all.count, DispatcherCalls.ListRequestsReply.most)).compactMap { core.index.all[$0] }
    let estimates = estimates(for: ids)
    return ids.compactMap { id in
      guard let record = core.requests[id], let exchange = carried[id]?.exchange else { return nil }
      var instance: String?
      var hasBegun = false
      if case .assigned(let id, _, _, let begun) = record.phase {
        instance = id.name
        hasBegun = begun != nil
      }
      var request = DispatcherTypes.Request(
        id: id.number, estimate: estimates[id], method: exchange.route.method,
        path: exchange.route.pattern,
        model: record.request.model, client: exchange.peerAddress.map(Self.text) ?? "unknown",
        user: exchange.caller?.name, className: exchange.caller?.className,
        ageSeconds: (now - record.arrivedAt).seconds, instance: instance, begun: hasBegun)
      request.requestID = chat?.name(of: id)
      request.suspended = if case .suspended = record.phase { true } else { false }
      return request
    }
  }

  /// The request that an order means; nil for none.
  func request(_ reference: DispatcherCalls.RequestReference) -> RequestID? {
    switch reference {
    case .id(let id): RequestID(id)
    case .requestID(let name): chat?.request(named: name)
    }
  }

  private static func text(_ address: SocketAddress) -> String {
    guard let ip = address.ipAddress, let port = address.port else { return "a local socket" }
    return ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
  }

  // MARK: Subscriptions

  func watchQueue(_ call: VarlinkCall) {
    let reply = DispatcherCalls.WatchQueueReply(queue: queue)
    guard call.wantsMore else { return call.reply(reply) }
    call.stream(reply)
    control.queueWatchers.append(.init(call: call))
    schedulePush()
  }

  func watchCapacity(_ call: VarlinkCall) {
    let reply = capacity
    guard call.wantsMore else { return call.reply(reply) }
    call.stream(reply)
    control.capacityWatchers.append(.init(call: call, told: reply))
    schedulePush()
  }

  /// Something that the core doesn't know of has changed.
  private func changed() {
    control.pacing.changed()
    schedulePush()
  }

  func schedulePush() {
    if control.seenRevision != core.revision {
      control.seenRevision = core.revision
      control.pacing.changed()
    }
    guard !control.queueWatchers.isEmpty || !control.capacityWatchers.isEmpty else { return }
    let now = Instant.now
    var due = control.pacing.nextPush(at: now)
    if control.queueWatchers.contains(where: { $0.missedPeak != nil }) { due = min(due, now + PushPacing.quiet) }
    if let timer = control.pushTimer, timer.due <= due { return }
    control.pushTimer?.task.cancel()
    let delay = TimeAmount.nanoseconds(max(0, (due - now).nanoseconds))
    let task = loop.assumeIsolated().scheduleTask(in: delay) { [self] in push() }
    control.pushTimer = .init(due: due, task: task)
  }

  private func push() {
    control.pushTimer = nil
    let now = Instant.now
    let isForAll = control.pacing.nextPush(at: now) <= now
    let queue = queue
    if isForAll {
      control.pacing.pushed(at: now)
      startNewPeak()
    }
    control.queueWatchers = control.queueWatchers.filter(\.call.isOpen).map { watcher in
      guard isForAll || watcher.missedPeak != nil else { return watcher }
      return watcher.pushed(queue)
    }
    if isForAll { pushCapacity() }
    schedulePush()
  }

  private func pushCapacity() {
    let capacity = capacity
    control.capacityWatchers = control.capacityWatchers.filter(\.call.isOpen).map { watcher in
      guard watcher.told != capacity, watcher.call.isWritable else { return watcher }
      watcher.call.stream(capacity)
      return .init(call: watcher.call, told: capacity)
    }
  }
}

extension ControlState.QueueWatcher {
  /// Tells the watcher, if it reads; else remembers the peak for when it does.
  fileprivate func pushed(_ queue: DispatcherTypes.Queue) -> Self {
    var queue = queue
    queue.peakDemand = max(queue.peakDemand, missedPeak ?? 0)
    guard call.isWritable else { return Self(call: call, missedPeak: queue.peakDemand) }
    call.stream(DispatcherCalls.WatchQueueReply(queue: queue))
    return Self(call: call)
  }
}
