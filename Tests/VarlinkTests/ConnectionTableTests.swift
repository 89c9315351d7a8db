import NIOCore
import NIOPosix
import Testing

@testable import Varlink

@Suite("Who is let in")
struct ConnectionTableTests {
  @Test("users who hold all connections together do not shut root and the server's own user out")
  func reserved() async throws {
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(host: "127.0.0.1", port: 0).get()
    var limits = VarlinkLimits()
    limits.maximumConnections = 8
    limits.maximumConnectionsPerUser = 6
    limits.reservedConnections = 3
    let table = ConnectionTable(limits: limits, trustedUserIDs: [0, 990])
    func admitted(_ userID: UInt32, of count: Int) -> [VarlinkConnectionID] {
      (0..<count).compactMap { _ in
        let id = VarlinkConnectionID.next()
        return table.admit(id, peer: VarlinkPeer(userID: userID, groupID: 7, processID: 1), channel: channel) ? id : nil
      }
    }
    let first = admitted(1000, of: 20)
    #expect(first.count == 6)
    #expect(admitted(1001, of: 20).count == 2)
    #expect(admitted(0, of: 2).count == 2)
    #expect(admitted(990, of: 20).count == 1, "there is a bound for them, too")
    #expect(admitted(1002, of: 1).isEmpty)
    // What goes makes room for the trusted first, and for others once there are few enough.
    for id in first { #expect(table.remove(id)) }
    #expect(admitted(1002, of: 20).count == 3)
    #expect(admitted(0, of: 20).count == 3)
    try await channel.close()
  }
}
