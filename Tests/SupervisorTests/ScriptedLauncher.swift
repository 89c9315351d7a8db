import Dispatch
import PoolCore
import Synchronization
import TestSupport

@testable import Launching

/// A launcher in memory, and an independent model of what a machine allows: two units of one name can't be, and an
/// order that no sensible supervisor gives is written down as a violation.
final class ScriptedLauncher: Launcher {
  struct Unit: Equatable {
    var unit: RunningInstance.Unit
    var id: InstanceID
    var port: UInt16
  }

  struct World {
    var units: [InstanceID: Unit] = [:]
    /// Placements in which a start is under way.
    var starting: Set<InstanceID> = []
    /// The most starts at once.
    var mostStarting = 0
    /// Every order in turn: `start gpu0`, `stop gpu0`, `kill gpu0`.
    var orders: [String] = []
    var violations: [String] = []
    var lives = 0
    /// Invocations that have ever been.
    var known: Set<InvocationID> = []
    /// What the next starts in a placement end with.
    var failures: [InstanceID: [String]] = [:]
    /// Placements whose starts wait until they are let go.
    var held: Set<InstanceID> = []
    /// Units that end before their start has come back.
    var dyingEarly: [InstanceID: String] = [:]
    /// So many orders about the network fail first.
    var failedNetworks = 0
    /// Orders about the network wait until they are let go.
    var areNetworksHeld = false
    /// Orders about the network that are under way, by the instance.
    var networksUnderWay: Set<InstanceID> = []
    /// So many stops are refused first.
    var refusedStops = 0
    /// The ends of so many stops are told only when the same stop is ordered again.
    var missedEnds = 0
    /// Units that have ended, and whose end was not told.
    var untold: [InvocationID: InstanceID] = [:]
    /// Units that are on their way out when they are found.
    var ending: Set<InstanceID> = []
    /// Whose processes are.
    var processes: [Int32: ProcessOwner] = [:]
    /// Who asks for that with the processes' arguments waits until this is signalled, and who asks without for the
    /// other.
    var argumentAnswers: DispatchSemaphore?
    var ownerAnswers: DispatchSemaphore?
    var isClosed = false
    /// What readers were sent for, and how each goes on: by itself to a good end, unless it is held.
    var readers: [ReaderOrder] = []
    var areReadersHeld = false
    var reader: AsyncStream<ReaderMessage>.Continuation?
    /// The specifications that were asked for, newest last.
    var specifications: [InstanceSpecification] = []
  }

  let description = "a scripted launcher"
  let startsAsOwnUser: Bool
  let events: AsyncStream<LauncherEvent>
  private let told: AsyncStream<LauncherEvent>.Continuation
  private let state = Mutex(World())

  init(startsAsOwnUser: Bool = true) {
    self.startsAsOwnUser = startsAsOwnUser
    (events, told) = AsyncStream.makeStream()
  }

  var world: World { state.withLock { $0 } }

  func change(_ change: @Sendable (inout World) -> Void) { state.withLock { change(&$0) } }

  /// A launcher as the next supervisor finds it: the same units, and no memory.
  func successor() -> ScriptedLauncher {
    let next = ScriptedLauncher()
    let (units, lives, known) = (world.units, world.lives, world.known)
    next.change {
      $0.units = units
      $0.lives = lives
      $0.known = known
    }
    return next
  }

  // MARK: The launcher

  func existing() async throws(LaunchError) -> [FoundUnit] {
    state.withLock { world in
      world.units.values.map { FoundUnit(id: $0.id, unit: $0.unit, isEnding: world.ending.contains($0.id)) }
    }
  }

  func start(_ specification: InstanceSpecification, port: UInt16) async throws(LaunchError) -> RunningInstance.Unit {
    let id = specification.id
    state.withLock { world in
      world.orders.append("start \(id)")
      world.specifications.append(specification)
      if world.units[id] != nil { world.violations.append("start of \(id), which runs") }
      if !world.starting.insert(id).inserted { world.violations.append("two starts of \(id) at once") }
      world.mostStarting = max(world.mostStarting, world.starting.count)
    }
    try? await eventually(within: .seconds(60), every: .milliseconds(2), "the test lets \(id) start") {
      state.withLock { !$0.held.contains(id) }
    }
    let outcome: Result<Unit, LaunchError> = state.withLock { world in
      world.starting.remove(id)
      if let reason = world.failures[id]?.first {
        world.failures[id]?.removeFirst()
        return .failure(LaunchError(.ended, reason))
      }
      if world.units.values.contains(where: { $0.port == port }) {
        return .failure(LaunchError(.ended, "port \(port) is in use"))
      }
      return .success(
        Self.run(id, port: port, specification.digest, hasNetwork: false, in: &world))
    }
    let unit = try outcome.get()
    if let reason = world.dyingEarly[id] { end(id, reason) }
    return unit.unit
  }

  func stop(_ id: InstanceID, _ invocation: InvocationID, kill: Bool) async throws(LaunchError) {
    let isRefused = state.withLock { world in
      world.orders.append("\(kill ? "kill" : "stop") \(id)")
      if !world.known.contains(invocation) { world.violations.append("stop of \(id) by an unknown invocation") }
      defer { world.refusedStops = max(0, world.refusedStops - 1) }
      return world.refusedStops > 0
    }
    if isRefused { throw LaunchError(.timedOut, "systemd does not answer") }
    let isMissed = state.withLock { world in
      guard world.missedEnds > 0, world.units[id]?.unit.invocation == invocation else { return false }
      world.missedEnds -= 1
      world.units[id] = nil
      world.untold[invocation] = id
      return true
    }
    if isMissed { return }
    if world.units[id]?.unit.invocation == invocation { end(id, "stopped") }
    if state.withLock({ $0.untold.removeValue(forKey: invocation) }) != nil {
      told.yield(.ended(id, invocation, reason: "stopped"))
    }
  }

  func setNetwork(_ id: InstanceID, _ invocation: InvocationID, open: Bool) async throws(LaunchError) {
    state.withLock { world in
      world.orders.append("\(open ? "open" : "close") network of \(id)")
      if !world.known.contains(invocation) { world.violations.append("network of \(id) by an unknown invocation") }
      if !world.networksUnderWay.insert(id).inserted { world.violations.append("two orders about \(id)'s network") }
    }
    try? await eventually(within: .seconds(60), every: .milliseconds(2), "the test lets it go") {
      state.withLock { !$0.areNetworksHeld }
    }
    let isFailed = state.withLock { world in
      world.networksUnderWay.remove(id)
      defer { world.failedNetworks = max(0, world.failedNetworks - 1) }
      return world.failedNetworks > 0
    }
    if isFailed { throw LaunchError(.timedOut, "systemd does not answer") }
    state.withLock { world in
      if world.units[id]?.unit.invocation == invocation { world.units[id]?.unit.hasNetwork = open }
    }
  }

  func readAhead(_ order: ReaderOrder) async throws(LaunchError) -> AsyncStream<ReaderMessage> {
    let (stream, continuation) = AsyncStream<ReaderMessage>.makeStream()
    let isHeld = state.withLock { world in
      world.readers.append(order)
      world.reader = continuation
      return world.areReadersHeld
    }
    if !isHeld {
      for model in order.models {
        continuation.yield(.outcome(ReadAhead.Outcome(model: model, size: 1 << 20, read: 0, duration: .zero)))
      }
      continuation.finish()
    }
    return stream
  }

  func instance(ofProcess processID: Int32, readsArguments: Bool) -> ProcessOwner {
    let world = world
    if let answers = readsArguments ? world.argumentAnswers : world.ownerAnswers {
      answers.wait()
      answers.signal()
    }
    return world.processes[processID] ?? .unknown
  }

  func close() async {
    state.withLock { $0.isClosed = true }
    told.finish()
  }

  // MARK: The script

  /// A unit that an earlier supervisor had started.
  func run(_ id: InstanceID, port: UInt16 = 11900, specification: String) {
    state.withLock { _ = Self.run(id, port: port, specification, in: &$0) }
  }

  /// A unit that somebody else starts now.
  func appear(_ id: InstanceID, specification: String) {
    let unit = state.withLock { Self.run(id, port: 11901, specification, in: &$0) }
    told.yield(.appeared(id, unit.unit))
  }

  /// The connection to systemd was lost, and is back.
  func reconnect() { told.yield(.reconnected) }

  /// The unit ends by itself.
  func end(_ id: InstanceID, _ reason: String) {
    if let unit = state.withLock({ $0.units.removeValue(forKey: id) }) {
      told.yield(.ended(id, unit.unit.invocation, reason: reason))
    }
  }

  private static func run(
    _ id: InstanceID, port: UInt16, _ specification: String, hasNetwork: Bool = true, in world: inout World
  ) -> Unit {
    world.lives += 1
    let unit = Unit(
      unit: RunningInstance.Unit(
        invocation: InvocationID("life-\(world.lives)"), mainPID: Int32(1000 + world.lives),
        address: "127.0.0.1:\(port)", specification: specification, hasNetwork: hasNetwork), id: id, port: port)
    world.units[id] = unit
    world.known.insert(unit.unit.invocation)
    return unit
  }
}
