import Dispatch

/// The connection to systemd: starts and stops units, reads their state, and tells their changes.
///
/// It lives on a serial dispatch queue that also watches the bus's descriptor. When the bus or systemd goes away
/// (`systemctl restart dbus`, `daemon-reexec`), every call that is under way ends with
/// ``SystemdError/Code/connectionLost``, new ones fail likewise until the connection is back, and then the streams of
/// changes bring ``UnitChange/reconnected``.
///
/// At most 64 calls are in flight at once; more wait their turn. A call ends with systemd's answer, or with the end
/// of the job that it began, or at its deadline, or when its task is cancelled.
package actor SystemdBus {
  static let systemd = "org.freedesktop.systemd1"
  static let managerPath = "/org/freedesktop/systemd1"
  static let managerInterface = "org.freedesktop.systemd1.Manager"
  static let propertiesInterface = "org.freedesktop.DBus.Properties"
  private static let busDaemon = "org.freedesktop.DBus"
  /// Calls have ids from 1; this is the subscription's, which goes before and beside them.
  private static let subscriptionID: UInt64 = 0
  /// Changes that a reader may leave unread before some are dropped, see ``UnitChange/overflowed``.
  private static let unreadChanges = 1024

  private struct Stream {
    let prefix: String
    let pathPrefix: String
    let continuation: AsyncStream<UnitChange>.Continuation
  }

  private let executor = BusExecutor()
  private let target: Bus
  private let callDeadline: Duration
  private var connection: BusConnection?
  /// systemd's unique name on the bus, from the moment when it sends us signals until it leaves. Signals from anyone
  /// else are ignored, since any local user may send some.
  private var systemdName: String?
  private var failedAttempts = 0
  private var isRetryPlanned = false
  private var isClosed = false
  private var opening: CheckedContinuation<SystemdError?, Never>?
  private var ledger = CallLedger()
  private var callers: [UInt64: CheckedContinuation<Result<[BusValue], SystemdError>, Never>] = [:]
  private var tracker = UnitTracker()
  private var streams: [UInt64: Stream] = [:]
  private var lastStream: UInt64 = 0

  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  // MARK: Opening and closing

  /// Connects, and fails if there is no bus or no systemd on it. Later losses are repaired without an error here.
  /// - Parameter deadline: how long a call may take, a job that it begins included: a start waits for the program to
  ///   be executed, a stop for the unit's own stop time-out.
  package static func connect(
    to target: Bus = .system, deadline: Duration = .seconds(90)
  ) async throws(SystemdError) -> SystemdBus {
    let bus = SystemdBus(target, deadline)
    if let error = await bus.open() {
      await bus.close()
      throw error
    }
    return bus
  }

  private init(_ target: Bus, _ deadline: Duration) {
    self.target = target
    callDeadline = deadline
  }

  private func open() async -> SystemdError? {
    await withCheckedContinuation { continuation in
      opening = continuation
      executor.queue.asyncAfter(deadline: .now() + callDeadline.dispatchInterval) { [weak self] in
        self?.assumeIsolated { $0.finishOpening(.timedOut, "no answer within \($0.callDeadline)") }
      }
      makeConnection()
    }
  }

  private func finishOpening(_ code: SystemdError.Code, _ message: String) {
    finishOpening(SystemdError(code, message, operation: "connecting to systemd"))
  }

  private func finishOpening(_ error: SystemdError?) {
    opening.take()?.resume(returning: error)
  }

  /// Ends the connection, all calls and all streams. May be called again; nothing happens then.
  package func close() {
    guard !isClosed else { return }
    isClosed = true
    connection = nil
    systemdName = nil
    finishOpening(.closed, "the connection was closed")
    carryOut(ledger.failAll(.closed, "the connection was closed"))
    for stream in streams.values { stream.continuation.finish() }
    streams = [:]
  }

  // MARK: The link to systemd

  private func makeConnection() {
    do throws(SystemdError) {
      let connection = try BusConnection(to: target, queue: executor.queue) { [weak self] in
        self?.assumeIsolated { $0.process() }
      }
      let manager = "type='signal',sender='\(Self.systemd)',path='\(Self.managerPath)',"
      for member in ["JobRemoved", "UnitRemoved", "Reloading"] {
        try connection.addMatch(manager + "interface='\(Self.managerInterface)',member='\(member)'")
      }
      try connection.addMatch(
        "type='signal',sender='\(Self.systemd)',path_namespace='\(Self.managerPath)/unit',"
          + "interface='\(Self.propertiesInterface)',member='PropertiesChanged'", onlyKnownUnits: true)
      try connection.addMatch(
        "type='signal',sender='\(Self.busDaemon)',interface='\(Self.busDaemon)',member='NameOwnerChanged',"
          + "arg0='\(Self.systemd)'")
      connection.watchUnits(withPathPrefixes: streams.values.map(\.pathPrefix))
      self.connection = connection
      subscribe()
    } catch {
      finishOpening(error)
      retryLater()
    }
  }

  /// Without a subscription systemd sends no signals at all.
  private func subscribe() {
    let request = BusRequest(
      path: Self.managerPath, interface: Self.managerInterface, member: "Subscribe", arguments: [],
      operation: "Subscribe")
    do throws(SystemdError) {
      try connection?.send(request, id: Self.subscriptionID, to: Self.systemd)
      connection?.planWake(at: ledger.earliestDeadline)
    } catch {
      finishOpening(error)
      retryLater()
    }
  }

  private func subscriptionAnswered(by sender: String, _ result: Result<[BusValue], SystemdError>) {
    if case .failure(let error) = result, error.code != .other("org.freedesktop.systemd1.AlreadySubscribed") {
      finishOpening(error)
      retryLater()
      return
    }
    failedAttempts = 0
    guard systemdName != sender else { return }
    systemdName = sender
    if opening == nil {
      tellToListAgain(.reconnected)
    } else {
      finishOpening(nil)
    }
  }

  private func retryLater() {
    guard !isClosed, !isRetryPlanned else { return }
    isRetryPlanned = true
    let pause = Backoff.pauseMilliseconds(afterFailures: failedAttempts)
    failedAttempts += 1
    executor.queue.asyncAfter(deadline: .now() + .milliseconds(pause)) { [weak self] in
      self?.assumeIsolated { $0.retry() }
    }
  }

  private func retry() {
    isRetryPlanned = false
    guard !isClosed, systemdName == nil else { return }
    if connection == nil { makeConnection() } else { subscribe() }
  }

  private func connectionLost() {
    connection = nil
    systemdLeft("the connection to the bus was lost")
    retryLater()
  }

  private func systemdLeft(_ message: String) {
    systemdName = nil
    finishOpening(.connectionLost, message)
    carryOut(ledger.failAll(.connectionLost, message))
  }

  private func tellToListAgain(_ change: UnitChange) {
    tracker.reset()
    for stream in streams.values { stream.continuation.tell(change) }
  }

  // MARK: Events

  private func process() {
    guard let connection else { return }
    guard connection.process({ handle($0) }) else { return connectionLost() }
    carryOut(ledger.expire(at: .now()))
    connection.planWake(at: ledger.earliestDeadline)
  }

  private func handle(_ event: BusEvent) {
    switch event {
    case .reply(Self.subscriptionID, let sender, let result):
      subscriptionAnswered(by: sender, result)
    case .reply(let id, _, let result):
      carryOut(ledger.replied(to: id, result))
    case .signal("NameOwnerChanged", _, Self.busDaemon, let arguments):
      guard arguments.count == 3, let old = arguments[1].text, let new = arguments[2].text else { return }
      // A bus that the connection itself brought up (a user's, by its socket) gets systemd a moment later.
      if !old.isEmpty { systemdLeft("systemd left the bus (daemon-reexec?)") }
      if !new.isEmpty { subscribe() }
    case .signal(let member, let path, let sender, let arguments):
      if sender == systemdName { signal(member, from: path, arguments) }
    }
  }

  private func signal(_ member: String, from path: String, _ arguments: [BusValue]) {
    switch member {
    case "JobRemoved":  // id, job, unit, result
      guard arguments.count == 4, let job = arguments[1].text, let result = arguments[3].text else { return }
      carryOut(ledger.jobEnded(path: job, result: result))
    case "PropertiesChanged":  // interface, changed, invalidated
      guard arguments.count >= 2, let name = UnitPath.decode(path), let interface = arguments[0].text,
        let properties = arguments[1].dictionary
      else { return }
      tell(tracker.propertiesChanged(of: name, interface: interface, properties), of: name)
    case "UnitRemoved":  // name, path
      guard let name = arguments.first?.text else { return }
      tell(tracker.removed(name), of: name)
    case "Reloading":  // true at its beginning, false at its end
      if arguments.first?.flag == false { tellToListAgain(.reloaded) }
    default:
      break
    }
  }

  // MARK: Calls

  /// Calls a method of systemd's and returns its answer, or the result of the job that it begins.
  func call(_ request: BusRequest, beginsJob: Bool = false) async throws(SystemdError) -> [BusValue] {
    guard !isClosed else {
      throw SystemdError(.closed, "the connection was closed", operation: request.operation)
    }
    guard systemdName != nil else {
      throw SystemdError(.connectionLost, "systemd is not on the bus now", operation: request.operation)
    }
    let deadline = DispatchTime.now() + callDeadline.dispatchInterval
    let (id, actions) = ledger.add(request, beginsJob: beginsJob, deadline: deadline)
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        callers[id] = continuation
        carryOut(actions)
        connection?.planWake(at: ledger.earliestDeadline)
      }
    } onCancel: {
      executor.queue.async { self.assumeIsolated { $0.cancel(id) } }
    }
    return try result.get()
  }

  private func cancel(_ id: UInt64) {
    carryOut(ledger.fail(id, .cancelled, "the wait for it was cancelled"))
    connection?.planWake(at: ledger.earliestDeadline)
  }

  private func carryOut(_ actions: [CallLedger.Action]) {
    for action in actions {
      switch action {
      case .finish(let id, let result):
        callers.removeValue(forKey: id)?.resume(returning: result)
      case .send(let id, let request):
        do throws(SystemdError) {
          try connection?.send(request, id: id, to: Self.systemd)
        } catch {
          carryOut(ledger.replied(to: id, .failure(error)))
        }
      }
    }
  }

  // MARK: Changes

  /// The changes of all units whose names begin with `prefix`, from now on; see ``UnitChange`` for what to list when.
  /// The stream ends with ``close()``.
  package func unitChanges(withPrefix prefix: String) throws(SystemdError) -> AsyncStream<UnitChange> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: UnitChange.self, bufferingPolicy: .bufferingNewest(Self.unreadChanges))
    guard !isClosed else {
      continuation.finish()
      return stream
    }
    lastStream += 1
    let id = lastStream
    streams[id] = Stream(
      prefix: prefix, pathPrefix: try UnitPath.encode(prefix: prefix), continuation: continuation)
    continuation.onTermination = { [weak self, executor] _ in
      executor.queue.async { [weak self] in self?.assumeIsolated { $0.removeStream(id) } }
    }
    connection?.watchUnits(withPathPrefixes: streams.values.map(\.pathPrefix))
    return stream
  }

  private func removeStream(_ id: UInt64) {
    guard streams.removeValue(forKey: id) != nil else { return }
    connection?.watchUnits(withPathPrefixes: streams.values.map(\.pathPrefix))
  }

  private func tell(_ change: UnitChange?, of name: String) {
    guard let change else { return }
    for stream in streams.values where name.hasPrefix(stream.prefix) { stream.continuation.tell(change) }
  }
}

extension Duration {
  /// Rounded down to nanoseconds; what is beyond about 290 years counts as never.
  var dispatchInterval: DispatchTimeInterval {
    let (seconds, attoseconds) = components
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, secondOverflow) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
    return overflow || secondOverflow ? .never : .nanoseconds(Int(sum))
  }
}
