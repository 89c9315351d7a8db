import Glibc
import Varlink

/// Who may change something over the control socket. Reading is for all whom the socket's mode lets in.
struct ControlRights: Sendable {
  /// The user of this process.
  var ownUserID: uid_t
  /// Models run as this user: what they run must not rule the pool.
  var instanceUserID: uid_t?

  func mayChange(_ peer: VarlinkPeer) -> Bool {
    if peer.userID == 0 { return true }
    return peer.userID == ownUserID && peer.userID != instanceUserID
  }
}
