import Glibc
import NIOCore
import Synchronization

/// What all connections of a server share; thread-safe.
final class ServerCore: Sendable {
  let interfaces: [String: any VarlinkInterface]
  let limits: VarlinkLimits
  let connections: ConnectionTable
  let onClose: @Sendable (VarlinkConnectionID, VarlinkPeer) -> Void

  init(
    interfaces: [any VarlinkInterface], service: VarlinkService, limits: VarlinkLimits,
    onClose: @escaping @Sendable (VarlinkConnectionID, VarlinkPeer) -> Void
  ) {
    let named = Dictionary(interfaces.map { ($0.name, $0) }) { first, _ in first }
    let builtIn = ServiceInterface(service: service, descriptions: named.mapValues(\.description))
    self.interfaces = named.merging([builtIn.name: builtIn]) { _, builtIn in builtIn }
    self.limits = limits
    self.onClose = onClose
    connections = ConnectionTable(limits: limits)
  }
}

/// The open connections of a server; thread-safe.
final class ConnectionTable: Sendable {
  private struct State {
    var channels: [VarlinkConnectionID: (userID: UInt32, channel: any Channel)] = [:]
    var countByUser: [UInt32: Int] = [:]
    var isClosed = false
  }

  private let limits: VarlinkLimits
  private let trustedUserIDs: Set<UInt32>
  private let state = Mutex(State())

  /// - Parameter trustedUserIDs: those who run the machine and the server.
  init(limits: VarlinkLimits, trustedUserIDs: Set<UInt32> = [0, geteuid()]) {
    self.limits = limits
    self.trustedUserIDs = trustedUserIDs
  }

  /// False if there are too many, in all or of this user, or if the server has closed.
  func admit(_ id: VarlinkConnectionID, peer: VarlinkPeer, channel: any Channel) -> Bool {
    let isTrusted = trustedUserIDs.contains(peer.userID)
    let most = limits.maximumConnections + (isTrusted ? limits.reservedConnections : 0)
    return state.withLock { state in
      let ofUser = state.countByUser[peer.userID, default: 0]
      guard !state.isClosed, state.channels.count < most, isTrusted || ofUser < limits.maximumConnectionsPerUser else {
        return false
      }
      state.channels[id] = (peer.userID, channel)
      state.countByUser[peer.userID] = ofUser + 1
      return true
    }
  }

  /// False if it had not been admitted.
  func remove(_ id: VarlinkConnectionID) -> Bool {
    state.withLock { state in
      guard let (userID, _) = state.channels.removeValue(forKey: id) else { return false }
      let left = state.countByUser[userID, default: 1] - 1
      state.countByUser[userID] = left > 0 ? left : nil
      return true
    }
  }

  /// Admits none any more.
  /// - Returns: the connections that are open.
  func close() -> [any Channel] {
    state.withLock { state in
      state.isClosed = true
      return state.channels.values.map(\.channel)
    }
  }
}
