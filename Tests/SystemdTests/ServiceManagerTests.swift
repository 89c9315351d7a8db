import Foundation
import Glibc
import TestSupport
import Testing

@testable import Systemd

/// sd_notify and the passing of sockets work by the environment and by fixed descriptors, so each test here runs its
/// part in a process of its own.
@Suite struct ServiceManagerTests {
  @Test func notificationsReachTheManagersSocket() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path(to: "notify")
    let socket = try datagramSocket(at: path)
    defer { close(socket) }

    await #expect(processExitsWith: .success) { [path = path as String] in
      setenv("NOTIFY_SOCKET", path, 1)
      ServiceManager.notifyStatus("draining\nMAINPID=1")
      ServiceManager.notifyReloading()
      ServiceManager.notifyReady(status: "4 instances")
      ServiceManager.extendTimeout(by: .seconds(30))
      ServiceManager.notifyWatchdog()
      ServiceManager.notifyStopping()
    }
    #expect(receive(socket) == "STATUS=draining MAINPID=1")
    #expect(receive(socket).wholeMatch(of: /RELOADING=1\nMONOTONIC_USEC=\d{4,}/) != nil)
    #expect(receive(socket) == "READY=1\nSTATUS=4 instances")
    #expect(receive(socket) == "EXTEND_TIMEOUT_USEC=30000000")
    #expect(receive(socket) == "WATCHDOG=1")
    #expect(receive(socket) == "STOPPING=1")
  }

  @Test func withoutAManagerNothingHappens() async {
    await #expect(processExitsWith: .success) {
      unsetenv("NOTIFY_SOCKET")
      unsetenv("WATCHDOG_USEC")
      unsetenv("LISTEN_FDS")
      ServiceManager.notifyReady()
      guard ServiceManager.watchdogInterval == nil, ListenSockets.take().isEmpty else { exit(1) }
    }
  }

  @Test func theWatchdogIntervalIsThatOfThisProcess() async {
    await #expect(processExitsWith: .success) {
      setenv("WATCHDOG_USEC", "10000000", 1)
      setenv("WATCHDOG_PID", "\(getpid())", 1)
      guard ServiceManager.watchdogInterval == .seconds(10) else { exit(1) }
      setenv("WATCHDOG_PID", "1", 1)
      guard ServiceManager.watchdogInterval == nil else { exit(2) }
    }
  }

  @Test func passedSocketsAreTakenOnceWithNamesAndKinds() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path(to: "control.sock")
    await #expect(processExitsWith: .success) { [path = path as String] in
      let expected = passSockets(unixPath: path)
      let taken = ListenSockets.take()
      guard taken.map(\.name) == ["control", "http", "http6", "odd"], taken.map(\.descriptor) == [3, 4, 5, 6],
        taken.map(\.kind) == expected
      else {
        FileHandle.standardError.write(Data("\(taken)".utf8))
        exit(1)
      }
      guard ListenSockets.take().isEmpty, getenv("LISTEN_FDS") == nil else { exit(2) }
    }
  }
}

/// Puts listening sockets where systemd would, and says of what kind they are.
private func passSockets(unixPath: String) -> [ListenSocket.Kind] {
  let unix = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
  withUnixAddress(unixPath) { bind(unix, $0, $1) }
  listen(unix, 1)
  let inet = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  listen(inet, 1)
  let inet6 = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
  var address = sockaddr_in6()
  address.sin6_family = sa_family_t(AF_INET6)
  address.sin6_addr = in6addr_loopback
  withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      _ = bind(inet6, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
    }
  }
  listen(inet6, 1)
  let datagram = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
  // Descriptors from 3 on may be in use in this process: it ends right after, and they are of no use to it.
  let copies = [unix, inet, inet6, datagram].map { fcntl($0, F_DUPFD, 50) }
  for (place, copy) in zip(Int32(3)..., copies) { dup2(copy, place) }
  setenv("LISTEN_PID", "\(getpid())", 1)
  setenv("LISTEN_FDS", "4", 1)
  setenv("LISTEN_FDNAMES", "control:http:http6:odd", 1)
  return [
    .unix(path: unixPath), .tcp(address: "0.0.0.0", port: port(of: copies[1]), isLoopback: false),
    .tcp(address: "::1", port: port(of: copies[2]), isLoopback: true), .other,
  ]
}

private func port(of descriptor: Int32) -> Int {
  var address = sockaddr_in6()
  var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
  withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &length) }
  }
  return Int(UInt16(bigEndian: address.sin6_port))
}

private func datagramSocket(at path: String) throws -> Int32 {
  let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
  try #require(withUnixAddress(path) { bind(descriptor, $0, $1) } == 0)
  return descriptor
}

@discardableResult
private func withUnixAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
  return withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
  }
}

private func receive(_ socket: Int32) -> String {
  var buffer = [UInt8](repeating: 0, count: 4096)
  let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
  return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
}
