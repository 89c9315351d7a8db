import ControlInterface
import Glibc
import NIOCore
import PoolCore
import Varlink

/// `ollamapool.Dispatcher` on the control socket: checks who asks for what, and asks the shell.
///
/// All of the server's connections live on the shell's loop.
struct ControlService: VarlinkInterface {
  /// A front end's name, in bytes.
  private static let longestFrontEnd = 64

  let name = DispatcherInterface.name
  let description = DispatcherInterface.description
  let shell: NIOLoopBound<DispatcherShell>
  let rights: ControlRights
  let version: String

  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    guard let method = DispatcherInterface.Method(rawValue: call.method) else { throw .methodNotFound(call.name) }
    let shell = shell.value
    guard !method.changes || rights.mayChange(call.peer) else {
      shell.tell(
        .permissionDenied(method: call.method, userID: call.peer.userID, processID: call.peer.processID))
      throw .permissionDenied
    }
    switch method {
    case .watchQueue: shell.watchQueue(call)
    case .watchCapacity: shell.watchCapacity(call)
    case .setInstances:
      let set = try WantedSet(checking: call.parameters(as: DispatcherCalls.SetInstances.self))
      shell.setInstances(set, from: call.connection, processID: call.peer.processID)
      call.reply()
    case .retireInstance: try retire(call, shell)
    case .reportFleet:
      let report = try FleetCheck.checked(try call.parameters(as: DispatcherCalls.ReportFleet.self))
      shell.learn(report, from: call.connection)
      call.reply()
    case .reportQueueDepth: try report(call, shell)
    case .getStatus: call.reply(status(of: shell))
    case .listRequests: call.reply(DispatcherCalls.ListRequestsReply(requests: shell.requests))
    case .cancelRequest:
      guard let request = try call.parameters(as: DispatcherCalls.CancelRequest.self).request else {
        throw .invalidParameter("id")
      }
      guard let id = shell.request(request), shell.cancel(id, byUserID: call.peer.userID) else {
        throw VarlinkErrorReply(ControlError.noSuchRequest, request.parameters)
      }
      call.reply()
    case .setPriority: try setPriority(call, shell)
    case .addKey: try shell.addKey(call)
    case .listKeys: call.reply(DispatcherCalls.ListKeysReply(keys: shell.keys))
    case .revokeKey: try shell.revokeKey(call)
    }
  }

  private func setPriority(_ call: VarlinkCall, _ shell: DispatcherShell) throws(VarlinkErrorReply) {
    let order = try call.parameters(as: DispatcherCalls.SetPriority.self)
    guard UserClass.priorities.contains(order.priority) else { throw .invalidParameter("priority") }
    guard let request = order.request else { throw .invalidParameter("id") }
    guard let id = shell.request(request) else {
      throw VarlinkErrorReply(ControlError.noSuchRequest, request.parameters)
    }
    switch shell.setPriority(order.priority, of: id, byUserID: call.peer.userID) {
    case .changed: call.reply()
    case .notWaiting: throw VarlinkErrorReply(ControlError.notWaiting, request.parameters)
    case .unknown: throw VarlinkErrorReply(ControlError.noSuchRequest, request.parameters)
    }
  }

  private func retire(_ call: VarlinkCall, _ shell: DispatcherShell) throws(VarlinkErrorReply) {
    let order = try call.parameters(as: DispatcherCalls.RetireInstance.self)
    guard InstanceID(validating: order.id) != nil else { throw .invalidParameter("id") }
    guard WantedSet.isInvocation(order.invocation) else { throw .invalidParameter("invocation") }
    let answer = shell.retire(InstanceID(order.id), InvocationID(order.invocation), from: call.connection)
    call.reply(DispatcherCalls.RetireInstanceReply(answer: .init(answer)))
  }

  private func report(_ call: VarlinkCall, _ shell: DispatcherShell) throws(VarlinkErrorReply) {
    let report = try call.parameters(as: DispatcherCalls.ReportQueueDepth.self)
    guard (1...Self.longestFrontEnd).contains(report.frontEnd.utf8.count) else { throw .invalidParameter("frontEnd") }
    guard report.depth >= 0 else { throw .invalidParameter("depth") }
    let wait = report.oldestWaitSeconds ?? 0
    // Beyond a year it is a mistake.
    guard (0...31_536_000).contains(wait) else { throw .invalidParameter("oldestWaitSeconds") }
    let outside = OutsideQueues.Report(
      frontEnd: report.frontEnd, depth: report.depth,
      oldestWait: report.oldestWaitSeconds.map { .seconds(rounding: $0) })
    guard shell.report(outside, from: call.connection) else {
      throw VarlinkErrorReply(
        ControlError.tooManyFrontEnds, ["most": .integer(Int64(OutsideQueues.frontEndsPerSession))])
    }
    call.reply()
  }

  private func status(of shell: DispatcherShell) -> DispatcherCalls.GetStatusReply {
    DispatcherCalls.GetStatusReply(
      version: version, processID: getpid(), startedSecondsAgo: (.now - shell.startedAt).seconds,
      endpoints: shell.control.endpoints, metrics: shell.control.metricsEndpoint, queue: shell.queue,
      reloads: shell.lastReloads)
  }
}

extension DispatcherCalls.RequestReference {
  fileprivate var parameters: [String: JSONValue] {
    switch self {
    case .id(let id): ["id": .integer(Int64(clamping: id))]
    case .requestID(let name): ["requestID": .string(name)]
    }
  }
}
