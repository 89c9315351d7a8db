import ControlInterface
import PoolCore
import Varlink

/// How it stands with the dispatcher.
struct LinkState {
  /// Takes orders while a session lives.
  private var orders: AsyncStream<LinkOrder>.Continuation?
  /// Why there is none, as it was told last: the same reason again is no news.
  var toldProblem: String?

  /// The refusal that ended the last session, until the present one has proved that it is over.
  private(set) var refusal: String?
  /// Whether that was the same as the one before, which was told.
  private(set) var isRepeated = false
  private var begunAt = Instant.zero

  /// What the dispatcher was told last of the fleet, and when.
  private var toldFleet: DispatcherCalls.ReportFleet?
  private var toldFleetAt = Instant.zero

  /// What it is not told before a way out to the network is open; nil where nothing is waited for.
  private var held: [LinkOrder]?
  private var holds = 0

  var isConnected: Bool { orders != nil }

  mutating func begin(at now: Instant) -> AsyncStream<LinkOrder> {
    begunAt = now
    let (stream, continuation) = AsyncStream.makeStream(of: LinkOrder.self)
    orders = continuation
    toldFleet = nil
    return stream
  }

  /// What was not sent yet is void: the next session begins with the whole set.
  mutating func end(_ end: DispatcherLink.End) {
    orders?.finish()
    orders = nil
    held = nil
    isRepeated = end.refusal != .none && end.reason == refusal
    refusal = end.refusal == .none ? nil : end.reason
  }

  /// Whether the session has lasted for long enough that what ended the last one is over.
  mutating func hasProved(at now: Instant) -> Bool {
    guard refusal != nil, now - begunAt >= Self.proof else { return false }
    refusal = nil
    return true
  }

  /// Longer than a call may take.
  private static let proof = DispatcherLink.callLimit + .seconds(1)

  mutating func send(_ order: LinkOrder) {
    if held == nil { orders?.yield(order) } else { held?.append(order) }
  }

  /// - Returns: what ``release(_:)`` takes.
  mutating func hold() -> Int {
    if orders != nil { held = held ?? [] }
    holds += 1
    return holds
  }

  /// What was held after the last hold is told, in its order.
  mutating func release(_ hold: Int) {
    guard hold == holds, let waiting = held else { return }
    held = nil
    for order in waiting { send(order) }
  }

  /// What is not new is said again before the dispatcher takes it for out of date.
  mutating func send(fleet report: DispatcherCalls.ReportFleet, at now: Instant) {
    guard isConnected, report != toldFleet || now - toldFleetAt >= Self.fleetInterval else { return }
    toldFleet = report
    toldFleetAt = now
    send(.report(report))
  }

  private static let fleetInterval = Duration.seconds(DispatcherCalls.ReportFleet.lifetimeSeconds) / 3
}

/// The dispatcher's side: sessions, one after the other.
extension SupervisorDaemon {
  /// The pause between two attempts to connect: 50 ms, doubled up to 1 s.
  private static let pause = Duration.milliseconds(50)
  private static let pauseMaximum = Duration.seconds(1)
  /// After a refusal of one order: doubled up to ``pauseAfterRefusal`` while it is the same.
  private static let firstPauseAfterRefusal = Duration.seconds(1)
  /// After a dispatcher has refused to take orders at all.
  private static let pauseAfterRefusal = Duration.seconds(30)
  /// For so long a dispatcher may be away before that is worth an entry: both daemons start at the same time.
  private static let quietAbsence = Duration.seconds(5)

  func followDispatcher() async {
    var pause = Self.pause
    var refusalPause = Self.firstPauseAfterRefusal
    var awaySince = MonotonicClock.now
    while !Task.isCancelled {
      do throws(VarlinkError) {
        let session = try await DispatcherLink.open(
          options.dispatcherSocket, silence: options.dispatcherSilence, on: options.eventLoopGroup)
        let end = await hold(session)
        refusalPause = link.isRepeated ? min(refusalPause * 2, Self.pauseAfterRefusal) : Self.firstPauseAfterRefusal
        pause =
          switch end.refusal {
          case .none: Self.pause
          case .ofOrder: refusalPause
          case .ofAll: Self.pauseAfterRefusal
          }
        awaySince = MonotonicClock.now
      } catch {
        if MonotonicClock.now - awaySince >= Self.quietAbsence { tellUnreachable(error) }
      }
      do { try await Task.sleep(for: pause) } catch { return }
      pause = min(pause * 2, Self.pauseMaximum)
    }
  }

  private func hold(_ session: DispatcherLink) async -> DispatcherLink.End {
    let orders = link.begin(at: MonotonicClock.now)
    link.toldProblem = nil
    apply { $0.dispatcherConnected(at: $1) }
    observed(session.first)
    let end = await session.run(
      orders, observed: { await self.observed($0) },
      retireAnswered: { id, invocation, answer in
        await self.apply { $0.retireAnswered(id, invocation, answer, at: $1) }
      })
    link.end(end)
    if !Task.isCancelled {
      let hadDrained = end.isClose && fleet.observation?.isDraining == true
      apply(.dispatcher(end: end.reason, hadDrained: hadDrained)) { $0.dispatcherLost(at: $1) }
    }
    return end
  }

  private func observed(_ observation: QueueObservation) {
    if link.hasProved(at: MonotonicClock.now) { tell(SupervisorEvent(.dispatcherFound, "dispatcher found")) }
    apply { $0.observed(observation, at: $1) }
    watchersShouldKnow()
  }

  private func tellUnreachable(_ error: VarlinkError) {
    guard link.toldProblem != error.message else { return }
    link.toldProblem = error.message
    tell(
      SupervisorEvent(
        .dispatcherUnreachable, "the dispatcher can't be reached",
        why: "\(error.message); instances go on, and up to the minimum are started"))
  }
}
