import NIOPosix
import PoolCore
import Synchronization
import Varlink

@testable import ControlInterface

/// A dispatcher that says what the test wants said, on a real control socket.
///
/// It keeps an instance's health and leases as it is told to, and answers a retirement as the real one does: only an
/// instance of the present set that holds nothing is retired.
final class ScriptedDispatcher: VarlinkInterface {
  struct World {
    var depth = 0
    /// Why the model store must not be changed, as it was told last.
    var storeRefusal: String?
    /// Models that are not to be loaded yet, as it was told last.
    var awaitingTurn: [String] = []
    /// Requests that hold a slot, by instance.
    var leases: [String: Int] = [:]
    /// Instances that never become healthy by themselves.
    var slow: Set<String> = []
    /// Why an instance is unhealthy, for good.
    var broken: [String: String] = [:]
    /// What instances hold in memory; of others nothing is known.
    var loaded: [String: [DispatcherTypes.LoadedModel]] = [:]
    /// What an empty instance says of how long it has been so.
    var idleSeconds = 3600.0
    var set: [DispatcherTypes.Instance] = []
    var setBy: VarlinkConnectionID?
    var retired: Set<String> = []
    /// Retirements that were ordered over another connection than the set.
    var violations: [String] = []
    var sets = 0
    var refusesSets = false
    /// So many sets are found wrong first.
    var wrongSets = 0
    /// The last one.
    var report: DispatcherCalls.ReportFleet?
    var isSilent = false
    var isDraining = false
    var watchers: [VarlinkCall] = []
    /// Instances that were retired, in turn.
    var retirements: [String] = []
  }

  let name = DispatcherInterface.name
  let description = DispatcherInterface.description
  private let state = Mutex(World())
  private let server = Mutex<VarlinkServer?>(nil)

  var world: World { state.withLock { $0 } }

  /// Changes what it sees, and says so to who watches.
  func change(_ change: @Sendable (inout World) -> Void) {
    state.withLock { change(&$0) }
    push()
  }

  func start(at path: String) async throws {
    let new = try await VarlinkServer.start(
      at: .path(path), serving: [self],
      as: VarlinkService(vendor: "test", product: "dispatcher", version: "0", url: ""),
      on: MultiThreadedEventLoopGroup.singleton.next())
    server.withLock { $0 = new }
  }

  /// As if it had died: nothing that it was told is remembered.
  func stop() async {
    let old = server.withLock { server in
      defer { server = nil }
      return server
    }
    await old?.close()
    state.withLock {
      $0.watchers = []
      $0.set = []
      $0.setBy = nil
      $0.retired = []
    }
  }

  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    switch DispatcherInterface.Method(rawValue: call.method) {
    case .watchQueue where call.wantsMore:
      state.withLock { $0.watchers.append(call) }
      push()
    case .watchQueue:
      if !world.isSilent { call.reply(DispatcherCalls.WatchQueueReply(queue: world.queue)) }
    case .setInstances:
      if world.refusesSets { throw .permissionDenied }
      let isWrong = state.withLock { world in
        defer { world.wrongSets = max(0, world.wrongSets - 1) }
        return world.wrongSets > 0
      }
      if isWrong { throw .invalidParameter("instances[1].address") }
      let order = try call.parameters(as: DispatcherCalls.SetInstances.self)
      state.withLock { world in
        world.set = order.instances
        world.storeRefusal = order.storeRefusal
        world.awaitingTurn = order.awaitingTurn ?? []
        world.sets += 1
        if world.setBy != call.connection { world.retired = [] }
        world.setBy = call.connection
      }
      call.reply()
      push()
    case .retireInstance:
      let order = try call.parameters(as: DispatcherCalls.RetireInstance.self)
      let connection = call.connection
      let answer: DispatcherTypes.RetireAnswer = state.withLock { world in
        if world.setBy != connection { world.violations.append("\(order.id) retired over another connection") }
        guard world.set.contains(where: { $0.id == order.id && $0.invocation == order.invocation }) else {
          return .unknown
        }
        guard world.leases[order.id, default: 0] == 0 else { return .busy }
        world.retired.insert(order.id)
        world.retirements.append(order.id)
        return .retired
      }
      call.reply(DispatcherCalls.RetireInstanceReply(answer: answer))
    case .reportFleet:
      let report = try call.parameters(as: DispatcherCalls.ReportFleet.self)
      state.withLock { $0.report = report }
      call.reply()
    default: throw .methodNotFound(call.name)
    }
  }

  private func push() {
    let (watchers, queue): ([VarlinkCall], DispatcherTypes.Queue) = state.withLock { world in
      world.watchers.removeAll { !$0.isOpen }
      return (world.isSilent ? [] : world.watchers, world.queue)
    }
    for watcher in watchers { watcher.stream(DispatcherCalls.WatchQueueReply(queue: queue)) }
  }
}

extension ScriptedDispatcher.World {
  fileprivate var queue: DispatcherTypes.Queue {
    let inFlight = leases.values.reduce(0, +)
    return DispatcherTypes.Queue(
      epoch: "test", depth: depth, oldestWaitSeconds: depth > 0 ? 1 : nil, inFlight: inFlight,
      peakDemand: depth + inFlight, arrivals: 0, completions: 0, models: [], frontEnds: [],
      maxConcurrent: set.count, draining: isDraining, instances: set.map(seen))
  }

  private func seen(_ instance: DispatcherTypes.Instance) -> DispatcherTypes.InstanceState {
    let health: DispatcherTypes.Health =
      broken[instance.id] != nil ? .unhealthy : slow.contains(instance.id) ? .starting : .healthy
    let held = leases[instance.id, default: 0]
    return DispatcherTypes.InstanceState(
      id: instance.id, invocation: instance.invocation, address: instance.address, gpus: instance.gpus,
      slots: instance.slots, role: instance.role, health: health, healthReason: broken[instance.id],
      healthFinal: health == .unhealthy, unhealthySeconds: health == .unhealthy ? 0 : nil, leases: held,
      references: 0, idleSeconds: held == 0 ? idleSeconds : nil, retired: retired.contains(instance.id),
      firstAnswerAfterSeconds: nil, readyAfterSeconds: nil, loaded: loaded[instance.id])
  }
}
