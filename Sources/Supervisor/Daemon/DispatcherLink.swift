import ControlInterface
import NIOCore
import PoolCore
import Synchronization
import Varlink

/// What the supervisor tells the dispatcher, in the order in which it was decided.
enum LinkOrder: Sendable {
  case setInstances(WantedSet)
  case retire(InstanceID, InvocationID)
  case report(DispatcherCalls.ReportFleet)
}

/// One session with the dispatcher, from its first word to the end of either connection.
///
/// Two connections, since a subscription takes one for itself. Orders go over the other one alone: the dispatcher
/// keeps a retirement for as long as the connection lives that ordered it.
struct DispatcherLink: Sendable {
  /// How long one call may take.
  static let callLimit = Duration.seconds(5)

  private let control: VarlinkClient
  private let pushes: VarlinkReplies<DispatcherCalls.WatchQueueReply>
  /// How long it may say nothing.
  private let silence: Duration

  /// What it said when the session began.
  let first: QueueObservation

  /// Connects, and waits for the first word: a socket that systemd holds open accepts for a dispatcher that isn't
  /// there.
  static func open(
    _ path: String, silence: Duration, on group: any EventLoopGroup
  ) async throws(VarlinkError) -> DispatcherLink {
    let control = try await VarlinkClient.connect(to: path, on: group)
    let first = try await control.call(
      DispatcherInterface.Method.watchQueue.qualified, as: DispatcherCalls.WatchQueueReply.self, timeout: callLimit)
    let watch = try await VarlinkClient.connect(to: path, on: group)
    let pushes = try await watch.subscribe(
      DispatcherInterface.Method.watchQueue.qualified, as: DispatcherCalls.WatchQueueReply.self)
    return DispatcherLink(
      control: control, pushes: pushes, silence: silence, first: QueueObservation(first.queue))
  }

  /// Why a session ended.
  struct End: Sendable {
    var reason: String
    var refusal = Refusal.none
    /// Whether the dispatcher closed it, as it does when it ends.
    var isClose = false
  }

  /// Whether the dispatcher is there and took no order.
  enum Refusal: Sendable {
    case none
    /// This one order was wrong: the next may be right.
    case ofOrder
    /// It takes none from this supervisor, and that won't change soon.
    case ofAll

    init(_ error: VarlinkErrorReply) {
      let ofAll = [VarlinkErrorReply.permissionDenied, .methodNotFound(""), .methodNotImplemented("")]
      self = ofAll.contains { $0.name == error.name } ? .ofAll : .ofOrder
    }
  }

  /// Passes on what either side says, until the session ends.
  func run(
    _ orders: AsyncStream<LinkOrder>, observed: @escaping @Sendable (QueueObservation) async -> Void,
    retireAnswered: @escaping @Sendable (InstanceID, InvocationID, Dispatch.RetireAnswer) async -> Void
  ) async -> End {
    let lastWord = LastWord()
    return await withTaskGroup(of: End.self) { group in
      group.addTask {
        await ending { () throws(VarlinkError) in
          for try await push in pushes {
            lastWord.renew()
            await observed(QueueObservation(push.queue))
          }
        }
      }
      group.addTask {
        await ending { () throws(VarlinkError) in
          for await order in orders {
            if let (id, invocation, answer) = try await carryOut(order) { await retireAnswered(id, invocation, answer) }
          }
        }
      }
      group.addTask { await lastWord.waitForSilence(of: silence) }
      let end = await group.next()
      group.cancelAll()
      await control.close()
      return end ?? .inOrder
    }
  }

  private func carryOut(
    _ order: LinkOrder
  ) async throws(VarlinkError) -> (InstanceID, InvocationID, Dispatch.RetireAnswer)? {
    switch order {
    case .setInstances(let set):
      _ = try await control.call(
        DispatcherInterface.Method.setInstances.qualified,
        DispatcherCalls.SetInstances(set), as: NoParameters.self, timeout: Self.callLimit)
      return nil
    case .retire(let id, let invocation):
      let reply = try await control.call(
        DispatcherInterface.Method.retireInstance.qualified,
        DispatcherCalls.RetireInstance(id: id.name, invocation: invocation.text),
        as: DispatcherCalls.RetireInstanceReply.self, timeout: Self.callLimit)
      return (id, invocation, Dispatch.RetireAnswer(reply.answer))
    case .report(let report):
      // Without an answer: a dispatcher of an older version doesn't know the method, and does its work all the same.
      try await control.callOneway(DispatcherInterface.Method.reportFleet.qualified, report)
      return nil
    }
  }

  private func ending(_ body: () async throws(VarlinkError) -> Void) async -> End {
    do throws(VarlinkError) {
      try await body()
      return .inOrder
    } catch {
      if case .remote(let reply) = error.code {
        return End(reason: "it refuses: \(error.message)", refusal: Refusal(reply))
      }
      return End(reason: error.message, isClose: error.code == .closed)
    }
  }
}

extension DispatcherLink.End {
  fileprivate static let inOrder = Self(reason: "it closed the connection", isClose: true)
}

/// When the dispatcher last said something.
private final class LastWord: Sendable {
  private let at = Mutex(ContinuousClock.now)

  func renew() { at.withLock { $0 = .now } }

  func waitForSilence(of limit: Duration) async -> DispatcherLink.End {
    while true {
      let due = at.withLock { $0 } + limit
      if due <= .now { return DispatcherLink.End(reason: "it has said nothing for \(limit.brief)") }
      do { try await Task.sleep(until: due, clock: .continuous) } catch { return .inOrder }
    }
  }
}
