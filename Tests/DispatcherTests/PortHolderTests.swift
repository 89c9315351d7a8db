import Glibc
import NIOCore
import NIOPosix
import Systemd
import TestSupport
import Testing

@testable import Dispatcher

struct PortHolderTests {
  private static let table = """
      sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
       0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 45123 1 0000000000000000
       1: 0100007F:2CAB 0100007F:D431 01 00000000:00000000 00:00000000 00000000   998        0 45124 1 0000000000000000
       2: 0100007F:XXXX 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 45125 1 0000000000000000
       3: short
    """

  @Test func onlySocketsThatListenAreRead() {
    #expect(ListeningSocketRow.parse(Self.table) == [ListeningSocketRow(port: 11_434, userID: 997, inode: 45_123)])
    #expect(ListeningSocketRow.parse("") == [])
  }

  @Test func whoListensIsFoundByItsProcess() async throws {
    let holder = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(host: "127.0.0.1", port: 0).get()
    let port = UInt16(try #require(holder.localAddress?.port))
    let found = try #require(PortHolder.find(port: port))
    #expect(found.processID == getpid())
    #expect(found.userID == getuid())
    #expect(PortHolder.describe(port: port)?.contains("(process \(getpid())") == true)
    try await holder.close()
    try await eventually("nobody holds it") { PortHolder.describe(port: port) == nil }
  }

  @Test func itIsToldInAClause() {
    var holder = PortHolder(userID: 997)
    #expect(holder.description == "a process of user 997")
    holder.processID = 812
    holder.name = "ollama"
    #expect(holder.description == "ollama (process 812)")
    holder.owner = .service("ollama.service")
    #expect(holder.description == "ollama (process 812, ollama.service)")
  }
}
