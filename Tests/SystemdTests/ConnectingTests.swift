import Foundation
import Glibc
import TestSupport
import Testing

@testable import Systemd

/// Where there is no bus, or something else in its place. The address comes from the environment, so each test
/// connects in a process of its own.
@Suite struct ConnectingTests {
  @Test func withoutABusTheErrorSaysSo() async {
    await #expect(processExitsWith: .success) {
      await expectFailure(.connectionLost, at: "unix:path=/no/such/socket")
    }
  }

  @Test func aBusThatSaysNothingFailsAtTheDeadline() async throws {
    let server = try await serve("signal.pause()")
    await #expect(processExitsWith: .success) { [path = server.path as String] in
      await expectFailure(.timedOut, at: "unix:path=\(path)")
    }
  }

  @Test func aBusThatTalksNonsenseIsAnError() async throws {
    let server = try await serve("connection.sendall(b'\\xff\\x00nonsense\\r\\n' * 1000)")
    await #expect(processExitsWith: .success) { [path = server.path as String] in
      await expectFailure(.connectionLost, at: "unix:path=\(path)")
    }
  }

  @Test func aBusThatHangsUpIsAnError() async throws {
    let server = try await serve("connection.close()")
    await #expect(processExitsWith: .success) { [path = server.path as String] in
      await expectFailure(.connectionLost, at: "unix:path=\(path)")
    }
  }

  /// A server on a Unix socket that does `action` with every connection.
  private func serve(_ action: String) async throws -> (path: String, keep: [AnyObject]) {
    let directory = try TemporaryDirectory()
    let path = directory.path(to: "bus")
    let script = """
      import signal, socket
      listener = socket.socket(socket.AF_UNIX)
      listener.bind("\(path)")
      listener.listen()
      print("listening", flush=True)
      while True:
          connection, _ = listener.accept()
          \(action)
      """
    let program = try RunningProgram("python3", ["-c", script])
    try await program.line(containing: "listening")
    return (path, [directory, program])
  }
}

private func expectFailure(_ code: SystemdError.Code, at address: String) async {
  setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1)
  do {
    _ = try await SystemdBus.connect(deadline: .milliseconds(500))
    exit(1)
  } catch {
    if error.code != code {
      FileHandle.standardError.write(Data("\(error.code) \(error)\n".utf8))
      exit(2)
    }
  }
}
