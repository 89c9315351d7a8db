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
  let handOn: @Sendable (SupervisorInterface.Method, VarlinkCall) -> Void

  /// - Parameter handOn: takes calls that are allowed, in order.
  init(
    administrators: Set<uid_t>, handOn: @escaping @Sendable (SupervisorInterface.Method, VarlinkCall) -> Void
  ) {
    self.administrators = administrators
    self.handOn = handOn
  }

  /// root, this process's own user, and the dispatcher's, on whose behalf operators work; but that never if instances
  /// run as it, since what a model's server does is no operator's doing.
  static func administrators(instanceUser: String?, lookUp: (String) -> uid_t? = { User(named: $0)?.userID }) -> Set<
    uid_t
  > {
    var users: Set<uid_t> = [0, geteuid()]
    if let dispatcher = lookUp("ollama-pool"), dispatcher != instanceUser.flatMap(lookUp) { users.insert(dispatcher) }
    return users
  }

  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    guard let method = SupervisorInterface.Method(rawValue: call.method) else { throw .methodNotFound(call.name) }
    if method.changes, !administrators.contains(call.peer.userID) { throw .permissionDenied }
    handOn(method, call)
  }
}
