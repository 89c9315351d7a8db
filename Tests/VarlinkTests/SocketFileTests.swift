import Foundation
import Glibc
import NIOPosix
import TestSupport
import Testing

@testable import Varlink

@Suite("The socket file")
struct SocketFileTests {
  private func start(at path: String, mode: mode_t = 0o660) async throws -> VarlinkServer {
    try await VarlinkServer.start(
      at: .path(path, mode: mode), serving: [ExampleInterface()], as: Fixture.service,
      on: MultiThreadedEventLoopGroup.singleton)
  }

  private func answers(_ path: String) async throws -> Bool {
    let client = try await VarlinkClient.connect(to: path, on: MultiThreadedEventLoopGroup.singleton)
    return try await client.call("org.varlink.service.GetInfo", as: JSONValue.self)["product"]?.string == "example"
  }

  private func mode(_ path: String) -> mode_t {
    var status = stat()
    return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
  }

  @Test("has the mode that was asked for, whatever the umask", arguments: [0o660, 0o600, 0o666] as [mode_t])
  func modes(wanted: mode_t) async throws {
    let folder = try TemporaryDirectory()
    let server = try await start(at: folder.path(to: "s"), mode: wanted)
    #expect(mode(folder.path(to: "s")) == wanted)
    await server.close()
  }

  @Test("on which nobody answers is replaced")
  func stale() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    // The descriptor is closed when the last reference goes, the file stays: as after SIGKILL.
    _ = try RawSocket.listening(at: path)
    #expect(FileManager.default.fileExists(atPath: path))
    let server = try await start(at: path)
    #expect(try await answers(path))
    await server.close()
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test("on which somebody answers, or is too busy to, is refused with a clear error, and left alone")
  func live() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    let first = try await start(at: path)
    let error = try await #require(throws: VarlinkError.self) { _ = try await start(at: path) }
    #expect(error.code == .cannotListen(endpoint: path, errno: EADDRINUSE))
    #expect(error.message.contains(path) && error.message.contains("another process answers there"))
    #expect(try await answers(path))
    await first.close()

    let busy = try RawSocket.listening(at: path, backlog: 0)
    let filler = try RawSocket.connected(to: path)
    #expect(try await errorCode { _ = try await start(at: path) } == .cannotListen(endpoint: path, errno: EADDRINUSE))
    #expect(busy.descriptor >= 0 && filler.descriptor >= 0)
  }

  @Test("is not put in the place of another kind of file")
  func otherFile() async throws {
    let folder = try TemporaryDirectory()
    let path = try folder.write("precious", to: "s")
    #expect(try await errorCode { _ = try await start(at: path) } == .cannotListen(endpoint: path, errno: ENOTSOCK))
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
  }

  @Test("that cannot be is an error that names path and remedy")
  func impossible() async throws {
    let folder = try TemporaryDirectory()
    let missing = folder.path(to: "no/s")
    #expect(try await errorCode { _ = try await start(at: missing) } == .cannotListen(endpoint: missing, errno: ENOENT))
    let long = folder.path(to: String(repeating: "x", count: 120))
    #expect(
      try await errorCode { _ = try await start(at: long) } == .cannotListen(endpoint: long, errno: ENAMETOOLONG))
  }

  @Test("of a successor is not removed by the one before")
  func successor() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    let first = try await start(at: path)
    unlink(path)
    let second = try await start(at: path)
    await first.close()
    #expect(try await answers(path))
    await second.close()
  }

  @Test("goes to just one of many servers that start at once over a stale one", arguments: 1...10)
  func race(round: Int) async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    _ = try RawSocket.listening(at: path)
    let servers = await withTaskGroup(of: VarlinkServer?.self) { group in
      for _ in 0..<4 { group.addTask { try? await start(at: path) } }
      var started: [VarlinkServer] = []
      for await case let server? in group { started.append(server) }
      return started
    }
    #expect(servers.count == 1)
    #expect(try await answers(path))
    for server in servers { await server.close() }
  }

  @Test("is not looked at while another process holds the folder's lock to do the same")
  func locked() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    let lock = open(folder.path, O_RDONLY | O_DIRECTORY)
    #expect(flock(lock, LOCK_EX) == 0)
    #expect(try await errorCode { _ = try await start(at: path) } == .cannotListen(endpoint: path, errno: EWOULDBLOCK))
    let waiting = Task { try await start(at: path) }
    close(lock)
    let server = try await waiting.value
    #expect(try await answers(path))
    await server.close()
  }

  @Test("that was inherited is served, and stays when the server closes")
  func inherited() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path(to: "s")
    let listener = try RawSocket.listening(at: path)
    for _ in 0..<2 {
      let server = try await VarlinkServer.start(
        at: .inherited(descriptor: dup(listener.descriptor)), serving: [ExampleInterface()], as: Fixture.service,
        on: MultiThreadedEventLoopGroup.singleton)
      #expect(try await answers(path))
      await server.close()
      #expect(FileManager.default.fileExists(atPath: path))
    }
    // Between two servers a connection waits in the socket.
    let waiting = try RawSocket.connected(to: path)
    try await waiting.write("{\"method\":\"org.example.Test.Echo\",\"parameters\":{\"text\":\"waited\"}}\0")
    let server = try await VarlinkServer.start(
      at: .inherited(descriptor: dup(listener.descriptor)), serving: [ExampleInterface()], as: Fixture.service,
      on: MultiThreadedEventLoopGroup.singleton)
    #expect(try await waiting.message() == #"{"parameters":{"text":"waited"}}"#)
    await server.close()
  }

  @Test("a descriptor that does not listen on a Unix socket is refused")
  func notListening() async throws {
    let folder = try TemporaryDirectory()
    let listener = try RawSocket.listening(at: folder.path(to: "s"))
    let connected = try RawSocket.connected(to: folder.path(to: "s"))
    let network = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    listen(network, 1)
    let file = open("/dev/null", O_RDONLY)
    for (descriptor, code) in [(connected.descriptor, EINVAL), (network, EINVAL), (file, ENOTSOCK), (9_999, EBADF)] {
      let found = try await errorCode {
        _ = try await VarlinkServer.start(
          at: .inherited(descriptor: descriptor), serving: [], as: Fixture.service,
          on: MultiThreadedEventLoopGroup.singleton)
      }
      #expect(found == .cannotListen(endpoint: "descriptor \(descriptor)", errno: code))
    }
    close(network)
    close(file)
    #expect(listener.descriptor >= 0)
  }
}
