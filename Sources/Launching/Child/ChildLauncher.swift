import Dispatch
import Glibc
import PoolConfiguration
package import PoolCore
import Synchronization
package import Systemd

/// Instances as child processes of the pool, each under a guard (see ``InstanceGuard``) that ends it when the pool
/// ends, however it does.
///
/// They are the pool's user, see all devices, and `memory_max` does not act on them. They inherit the pool's
/// environment, so that OLLAMA_* variables of the shell reach them. What they write goes to the journal, or as lines
/// with the instance's name to standard error.
package final class ChildLauncher: Launcher {
  private typealias Starter = CheckedContinuation<Result<RunningInstance.Unit, LaunchError>, Never>

  private struct Child {
    let unit: RunningInstance.Unit
    let guardProcess: pid_t
    let control: Int32
    /// The instance's, from when it runs.
    var processID: pid_t?
    var starter: Starter?
    var stoppers: [CheckedContinuation<Void, Never>] = []
    /// Why it did not start.
    var failure: LaunchError?
    var end: ProcessEnd?
    /// What it said about why it can't go on.
    var complaint: String?

    var running: RunningInstance.Unit? {
      processID.map { processID in
        var unit = unit
        unit.mainPID = processID
        return unit
      }
    }
  }

  private struct State {
    var children: [InstanceID: Child] = [:]
    var isClosed = false
  }

  /// The manager's own variables, which are for the pool alone.
  private static let ownVariables: Set<String> = [
    "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID",
    "JOURNAL_STREAM", "MAINPID",
  ]

  package let description = "child processes"
  package let startsAsOwnUser = true
  package let events: AsyncStream<LauncherEvent>
  private let continuation: AsyncStream<LauncherEvent>.Continuation
  private let guardCommand: [String]
  private let reader: ReaderProgram
  private let output: Journal.Destination
  private let state = Mutex(State())

  /// - Parameters:
  ///   - guardCommand: the program that calls ``InstanceGuard/takeOver(ifAskedBy:)`` with the arguments that make it do
  ///     so. By default this one, also when its file was replaced or deleted.
  ///   - reader: what reads models ahead.
  ///   - output: where goes what the instances write.
  package init(
    guardCommand: [String] = ["/proc/self/exe", InstanceGuard.subcommand], reader: ReaderProgram = ReaderProgram(),
    output: Journal.Destination = .automatic
  ) {
    self.guardCommand = guardCommand
    self.reader = reader
    self.output = output
    (events, continuation) = AsyncStream.makeStream()
  }

  package func existing() -> [FoundUnit] { [] }

  // MARK: Starting

  package func start(
    _ specification: InstanceSpecification, port: UInt16
  ) async throws(LaunchError) -> RunningInstance.Unit {
    let home = try OwnAccount.home(ifNotAskedFor: specification.user)
    try await specification.checkMounts(home: home)
    let unit = RunningInstance.Unit(
      invocation: Self.newInvocation(), mainPID: 0, address: InstanceSpecification.address(port: port),
      specification: specification.digest)
    let environment = environment(specification, port: port, home: home)
    let result = await withCheckedContinuation { starter in
      switch admit(specification, environment, as: unit, starter) {
      case .success(.spawned(let watch)): follow(watch, specification)
      case .success(.runs(let unit)): starter.resume(returning: .success(unit))
      case .failure(let error): starter.resume(returning: .failure(error))
      }
    }
    return try result.get()
  }

  private enum Admission {
    case spawned(GuardWatch)
    case runs(RunningInstance.Unit)
  }

  private func admit(
    _ specification: InstanceSpecification, _ environment: [String], as unit: RunningInstance.Unit, _ starter: Starter
  ) -> Result<Admission, LaunchError> {
    let id = specification.id
    return state.withLock { state in
      do throws(LaunchError) {
        guard !state.isClosed else { throw LaunchError(.unavailable, "\(id) did not start: the pool stops") }
        if let child = state.children[id] {
          guard let running = child.running else { throw LaunchError(.refused, "\(id) is being started already") }
          return .success(.runs(running))
        }
        let watch = try spawnGuard(specification, environment)
        state.children[id] = Child(
          unit: unit, guardProcess: watch.guardProcess, control: watch.control, starter: starter)
        return .success(.spawned(watch))
      } catch {
        return .failure(error)
      }
    }
  }

  private func spawnGuard(
    _ specification: InstanceSpecification, _ environment: [String]
  ) throws(LaunchError) -> GuardWatch {
    let control = try DescriptorPair.sockets()
    let output: DescriptorPair
    do throws(LaunchError) {
      output = try DescriptorPair.pipe()
    } catch {
      control.close()
      throw error
    }
    let grace = Int(InstanceSpecification.stopGrace / .milliseconds(1))
    let arguments =
      [InstanceGuard.name] + guardCommand.dropFirst() + InstanceGuard.options(LocalResources(of: specification))
      + [String(grace), specification.executable.path, "serve"]
    let result = Spawning.spawn(
      guardCommand[0], arguments, environment: environment,
      descriptors: [(control.second, STDIN_FILENO), (output.second, STDOUT_FILENO), (output.second, STDERR_FILENO)])
    Glibc.close(control.second)
    Glibc.close(output.second)
    switch result {
    case .success(let processID):
      return GuardWatch(guardProcess: processID, control: control.first, output: output.first)
    case .failure(let error):
      Glibc.close(control.first)
      Glibc.close(output.first)
      throw LaunchError(.refused, "\(specification.id) did not start: \(guardCommand[0]): \(error.text)")
    }
  }

  private func environment(_ specification: InstanceSpecification, port: UInt16, home: String) -> [String] {
    let own = specification.environment(port: port, home: home, hidingOtherGPUs: false)
    let replaced = Self.ownVariables.union(InstanceEnvironment.pinningVariables).union(own.map(\.name))
    return own.map { "\($0.name)=\($0.value)" }
      + ownEnvironment.filter { entry in
        let name = String(entry.prefix { $0 != "=" })
        return !replaced.contains(name) && !InheritedVariables.isReplaced(name, by: specification.extraEnvironment)
      }
  }

  private static func newInvocation() -> InvocationID {
    InvocationID((0..<4).map { _ in String(UInt32.random(in: 0x1000_0000...(.max)), radix: 16) }.joined())
  }

  // MARK: Stopping

  package func stop(_ id: InstanceID, _ invocation: InvocationID, kill: Bool) async {
    await withCheckedContinuation { stopper in
      let isWaiting = state.withLock { state in
        guard let child = state.children[id], child.unit.invocation == invocation else { return false }
        state.children[id]?.stoppers.append(stopper)
        var order = (kill ? GuardOrder.kill : .stop).rawValue
        send(child.control, &order, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        return true
      }
      if !isWaiting { stopper.resume() }
    }
  }

  /// Child processes have their pool's network.
  package func setNetwork(_ id: InstanceID, _ invocation: InvocationID, open: Bool) {}

  package func close() async {
    let running = state.withLock { state in
      state.isClosed = true
      return state.children.map { ($0.key, $0.value.unit.invocation) }
    }
    await withTaskGroup(of: Void.self) { group in
      for (id, invocation) in running { group.addTask { await self.stop(id, invocation, kill: false) } }
    }
    continuation.finish()
  }

  // MARK: Reading ahead

  package func readAhead(_ order: ReaderOrder) async throws(LaunchError) -> AsyncStream<ReaderMessage> {
    let program = try reader.executable()
    let connection = try ReaderConnection(order.models)
    let result = Spawning.spawn(
      program, [InstanceGuard.name, ModelReader.subcommand, order.store], environment: [],
      descriptors: [(connection.readers, STDIN_FILENO), (connection.readers, STDOUT_FILENO), (nil, STDERR_FILENO)])
    let processID: pid_t
    switch result {
    case .success(let started): processID = started
    case .failure(let error):
      connection.giveUp()
      throw LaunchError(.refused, "\(program) can't be started: \(error.text)")
    }
    connection.closeReaders()
    return connection.messages {
      var status: Int32 = 0
      while waitpid(processID, &status, 0) < 0 && errno == EINTR {}
    }
  }

  // MARK: Processes

  /// From a process to the guard that it is below; nothing of an instance gets away from there.
  private static let mostAncestors = 64

  package func instance(ofProcess processID: Int32, readsArguments: Bool) -> ProcessOwner {
    let roots = state.withLock { state in
      Dictionary(state.children.map { ($0.value.guardProcess, $0.key) }) { first, _ in first }
    }
    var next = processID
    for _ in 0..<Self.mostAncestors {
      if let id = roots[next] { return .instance(id) }
      guard let parent = ProcessFiles.parent(of: next), parent > 1 else { break }
      next = parent
    }
    return .other(processID, readsArguments: readsArguments)
  }

  // MARK: What happens

  /// On a thread of its own until the guard has ended.
  private func follow(_ watch: GuardWatch, _ specification: InstanceSpecification) {
    let id = specification.id
    let gpus = specification.gpuNames.joined(separator: ",")
    let fields = [(name: "POOL_INSTANCE", value: id.name)] + (gpus.isEmpty ? [] : [("POOL_GPU", gpus)])
    let journal = Journal(identifier: "ollama-\(id)", destination: output)
    DispatchQueue(label: "ollama-pool.instance.\(id)").async {
      let guardEnd = watch.untilTheEnd { message in
        self.received(message, from: id, specification)
      } line: { line in
        journal.send(JournalEntry(line, fields: fields))
        if let complaint = Complaint.of(line) { self.state.withLock { $0.children[id]?.complaint = complaint } }
      }
      self.guardEnded(guardEnd, watch, id)
    }
  }

  private func received(_ message: GuardMessage, from id: InstanceID, _ specification: InstanceSpecification) {
    let started: (starter: Starter, unit: RunningInstance.Unit)? = state.withLock { state in
      switch message {
      case .started(let processID):
        state.children[id]?.processID = processID
        guard let unit = state.children[id]?.running, let starter = state.children[id]?.starter.take() else {
          return nil
        }
        return (starter, unit)
      case .failed(let error):
        state.children[id]?.failure = LaunchError(
          .missingExecutable, "\(id) did not start: \(specification.executable.path): \(error.text)")
      case .ended(let end): state.children[id]?.end = end
      }
      return nil
    }
    if let started { started.starter.resume(returning: .success(started.unit)) }
  }

  private func guardEnded(_ end: ProcessEnd, _ watch: GuardWatch, _ id: InstanceID) {
    let child = state.withLock { state in
      // Under the lock, so that no order goes to a descriptor that is somebody else's by now.
      Glibc.close(watch.control)
      return state.children.removeValue(forKey: id)
    }
    Glibc.close(watch.output)
    guard let child else { return }
    let reason = child.end.map { $0.reason + (child.complaint.map { ": \($0)" } ?? "") }
    if let processID = child.processID {
      // The guard was killed itself: what it can't do any more is done for the instance's session at least.
      if child.end == nil { Glibc.kill(-processID, SIGKILL) }
      continuation.yield(
        .ended(id, child.unit.invocation, reason: reason ?? "its guard was gone (\(end.reason)), so it was killed"))
    }
    child.starter?.resume(
      returning: .failure(
        child.failure ?? LaunchError(.ended, "\(id) did not start: its guard was gone (\(end.reason))")))
    for stopper in child.stoppers { stopper.resume() }
  }
}
