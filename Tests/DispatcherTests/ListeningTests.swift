import ControlInterface
import Foundation
import Glibc
import NIOCore
import NIOPosix
import PoolConfiguration
import PoolCore
import TestSupport
import Testing
import Varlink

@testable import Dispatcher
@testable import Systemd

@Suite(.timeLimit(.minutes(1)))
struct ListeningTests {
  @Test func aPortInUseIsNamedWithItsHolderAndTheRemedy() async throws {
    try await withHeldPort { port in
      let error = await #expect(throws: DispatcherError.self) {
        try await DispatcherRig.run {
          $0.listen = [.loopback(port: port)]
        } _: { _ in
        }
      }
      #expect(error?.code == .cannotListen(.loopback(port: port), errno: EADDRINUSE))
      let message = try #require(error?.message)
      #expect(message.contains("127.0.0.1:\(port)"))
      #expect(message.contains("process \(getpid())"))
      #expect(message.contains("choose another address under listen"))
    }
  }

  @Test func theMetricsPortIsHeldToTheSameRule() async throws {
    try await withHeldPort { port in
      let error = await #expect(throws: DispatcherError.self) {
        try await DispatcherRig.run {
          $0.metricsListen = .loopback(port: port)
        } _: { _ in
        }
      }
      #expect(error?.message.contains("choose another address under metrics_listen") == true)
    }
  }

  @Test func aPortInUseGivesWayToTheNextFreeOneWhereThatIsWanted() async throws {
    try await withHeldPort { port in
      try await DispatcherRig.run {
        $0.listen = [.loopback(port: port)]
      } options: {
        $0.nextFreePort = true
      } _: { rig in
        #expect(rig.port > Int(port) && rig.port <= Int(port) + Listening.portSpan)
        #expect(try await rig.get("/").status == 200)
        try await rig.waitForJournal("127.0.0.1:\(port) is in use by")
      }
    }
  }

  @Test func theNextPortIsNoneThatSomethingElseIsMeantToHave() {
    var settings = Settings()
    settings.listen = [.loopback(port: 11_434)]
    var options = DispatcherOptions(
      settings: settings, controlSocket: "", journal: Journal(identifier: "x"), version: "1")
    options.nextFreePort = true
    let ports = Listening.candidates(for: settings.listen[0], options).map(\.port)
    #expect(ports.prefix(3) == [11_434, 11_436, 11_437])
    #expect(!ports.contains { (11_500..<11_600).contains($0) })
    options.nextFreePort = false
    #expect(Listening.candidates(for: settings.listen[0], options).map(\.port) == [11_434])
  }

  @Test func anAddressThatThisMachineDoesNotHaveIsAnError() async throws {
    let error = await #expect(throws: DispatcherError.self) {
      try await DispatcherRig.run {
        $0.listen = [try! #require(ListenAddress(host: "192.0.2.1", port: 0))]
      } _: { _ in
      }
    }
    #expect(error?.message.contains("no such address") == true)
  }

  @Test func inheritedSocketsWinOverTheSettings() async throws {
    let folder = try TemporaryDirectory()
    let http = try Self.listeningSocket()
    let control = try Self.listeningSocket(unix: folder.path(to: "inherited"))
    let held = try freePort()
    try await DispatcherRig.run {
      $0.listen = [.loopback(port: UInt16(held))]
    } options: {
      $0.inherited = [ListenSocket(descriptor: http, name: "http"), ListenSocket(descriptor: control, name: "control")]
      $0.controlSocket = folder.path(to: "inherited")
    } _: { rig in
      #expect(rig.port != held)
      let answer = try await rig.get("/")
      #expect(answer.text == "Ollama is running")
      #expect(rig.daemon.controlSocket == folder.path(to: "inherited"))
      #expect(try await rig.queue().depth == 0)
    }
    #expect(access(folder.path(to: "inherited"), F_OK) == 0, "a socket of systemd's outlives the daemon")
  }

  @Test func anInheritedSocketBeyondLoopbackNeedsThePermission() async throws {
    let open = try Self.listeningSocket(address: INADDR_ANY)
    let refused = await #expect(throws: ConfigurationError.self) {
      try await DispatcherRig.run(options: { $0.inherited = [ListenSocket(descriptor: open, name: "http")] }) { _ in }
    }
    #expect(refused?.description.contains("allow_open_listener") == true)
    close(open)

    let allowed = try Self.listeningSocket(address: INADDR_ANY)
    try await DispatcherRig.run {
      $0.allowOpenListener = true
    } options: {
      $0.inherited = [ListenSocket(descriptor: allowed, name: "http")]
    } _: { rig in
      #expect(rig.daemon.endpoints[0].hasPrefix("http://0.0.0.0:"))
    }
  }

  @Test func aSocketWithAnotherNameIsClosedAndTold() async throws {
    let stray = try Self.listeningSocket()
    // Another test may get its port, and its descriptor's number, as soon as they are free.
    func inode() -> UInt64? {
      var status = stat()
      return fstat(stray, &status) == 0 ? UInt64(status.st_ino) : nil
    }
    let before = try #require(inode())
    try await DispatcherRig.run(options: { $0.inherited = [ListenSocket(descriptor: stray, name: "stray")] }) { rig in
      try await rig.waitForJournal("the inherited socket stray is not used")
      #expect(inode() != before)
    }
  }

  @Test func aSocketThatDoesNotListenIsAnError() async throws {
    let datagram = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    defer { close(datagram) }
    let error = await #expect(throws: DispatcherError.self) {
      try await DispatcherRig.run(options: { $0.inherited = [ListenSocket(descriptor: datagram, name: "http")] }) { _ in
      }
    }
    #expect(error?.code == .unusableSocket(name: "http"))
  }

  @Test func aControlSocketOnWhichSomebodyAnswersIsNotTakenOver() async throws {
    try await DispatcherRig.run { rig in
      let error = await #expect(throws: VarlinkError.self) {
        try await DispatcherRig.run(options: { $0.controlSocket = rig.socket }) { _ in }
      }
      #expect(error?.message.contains("another process answers there") == true)
      let queue = try await rig.queue()
      #expect(queue.depth == 0)
    }
  }

  private func withHeldPort(_ body: (UInt16) async throws -> Void) async throws {
    let holder = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(host: "127.0.0.1", port: 0).get()
    let port = try #require(holder.localAddress?.port)
    do {
      try await body(UInt16(port))
    } catch {
      try await holder.close()
      throw error
    }
    try await holder.close()
  }

  private static func listeningSocket(address: in_addr_t = INADDR_LOOPBACK) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr.s_addr = address.bigEndian
    let bound = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard bound == 0, listen(descriptor, 16) == 0 else { throw SystemCallFailed("listen") }
    return descriptor
  }

  private static func listeningSocket(unix path: String) throws -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    let bound = try SocketAddress(unixDomainSocketPath: path).withSockAddr { bind(descriptor, $0, socklen_t($1)) }
    guard bound == 0, listen(descriptor, 16) == 0 else { throw SystemCallFailed("listen") }
    return descriptor
  }
}
