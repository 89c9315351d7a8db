import ControlInterface
import Glibc
import Launching
import Varlink

/// `ollamapool.Supervisor` on its socket: who may call what. The answers are the daemon's.
struct ControlService: VarlinkInterface {
  let name = SupervisorInterface.name
  let description = SupervisorInterface.description

  /// Users who may change something. Whoever can connect may read: the socket's mode decides that.
  let administrators: Set<uid_t>
  /// Takes calls that are allowed, in order.
  let handOn: @Sendable (SupervisorInterface.Method, VarlinkCall) -> Void
  /// Hears of calls that are not.
  let refused: @Sendable (SupervisorInterface.Method, VarlinkPeer) -> Void

  /// root, this process's own user, and the dispatcher's, on whose behalf operators work. Instances never run as that
  /// one: see `InstanceAccount`.
  static func administrators(dispatcher: uid_t? = User(named: InstanceAccount.dispatcherName)?.userID) -> Set<uid_t> {
    Set([0, geteuid(), dispatcher].compactMap(\.self))
  }

  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    guard let method = SupervisorInterface.Method(rawValue: call.method) else { throw .methodNotFound(call.name) }
    guard !method.changes || administrators.contains(call.peer.userID) else {
      refused(method, call.peer)
      throw .permissionDenied
    }
    handOn(method, call)
  }
}
