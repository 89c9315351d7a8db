import ControlInterface
import Glibc
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

  /// root, this process's own user, and the dispatcher's, on whose behalf operators work.
  static func administrators() -> Set<uid_t> {
    var users: Set<uid_t> = [0, geteuid()]
    var record = passwd()
    var found: UnsafeMutablePointer<passwd>?
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16_384) { buffer in
      guard let text = buffer.baseAddress else { return }
      if getpwnam_r("ollama-pool", &record, text, buffer.count, &found) == 0, let found {
        users.insert(found.pointee.pw_uid)
      }
    }
    return users
  }

  func handle(_ call: VarlinkCall) throws(VarlinkErrorReply) {
    guard let method = SupervisorInterface.Method(rawValue: call.method) else { throw .methodNotFound(call.name) }
    if method.changes, !administrators.contains(call.peer.userID) { throw .permissionDenied }
    handOn(method, call)
  }
}
