package import Glibc
import NIOCore
import Synchronization

/// Who is at the other end, as the kernel saw it when the peer connected (SO_PEERCRED).
package struct VarlinkPeer: Sendable, Hashable {
  package let userID: uid_t
  /// The primary group; the peer's further groups are not known. The socket's mode has let them in or not.
  package let groupID: gid_t
  /// 0 if the peer lives in another PID namespace.
  package let processID: pid_t

  package init(userID: uid_t, groupID: gid_t, processID: pid_t) {
    self.userID = userID
    self.groupID = groupID
    self.processID = processID
  }

  /// The peer of a connection that was accepted.
  static func of(_ channel: any Channel) -> EventLoopFuture<VarlinkPeer> {
    guard let options = channel as? any SocketOptionProvider else {
      return channel.eventLoop.makeFailedFuture(VarlinkError.malformed("the connection is no socket"))
    }
    let credentials: EventLoopFuture<Credentials> = options.unsafeGetSocketOption(
      level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
    return credentials.map { VarlinkPeer(userID: $0.userID, groupID: $0.groupID, processID: $0.processID) }
  }
}

/// `struct ucred` of unix(7), in its order; glibc shows it to _GNU_SOURCE only, and so not to Swift.
private struct Credentials: Sendable {
  let processID: pid_t
  let userID: uid_t
  let groupID: gid_t
}

/// One connection to a server of this process; never used twice while the process lives.
package struct VarlinkConnectionID: Sendable, Hashable, Comparable, CustomStringConvertible {
  package let value: UInt64

  private static let last = Atomic<UInt64>(0)

  static func next() -> Self {
    Self(value: last.wrappingAdd(1, ordering: .relaxed).newValue)
  }

  package static func < (left: Self, right: Self) -> Bool { left.value < right.value }

  package var description: String { "\(value)" }
}
