import Glibc
import NIOCore
import Synchronization
import TestSupport

/// A Unix socket on which a test writes and reads bytes as it likes, without the code under test.
final class RawSocket: Sendable {
  let descriptor: CInt

  /// What was read beyond the last message.
  private let unread = Mutex<[UInt8]>([])

  private init(_ descriptor: CInt) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  static func connected(to path: String) throws -> RawSocket {
    let socket = RawSocket(Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
    let address = try SocketAddress(unixDomainSocketPath: path)
    guard address.withSockAddr({ connect(socket.descriptor, $0, socklen_t($1)) }) == 0 else {
      throw SystemCallFailed("connect to \(path)")
    }
    return socket
  }

  static func listening(at path: String, backlog: CInt = 16) throws -> RawSocket {
    let socket = RawSocket(Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
    let address = try SocketAddress(unixDomainSocketPath: path)
    guard address.withSockAddr({ bind(socket.descriptor, $0, socklen_t($1)) }) == 0,
      listen(socket.descriptor, backlog) == 0
    else { throw SystemCallFailed("listen at \(path)") }
    return socket
  }

  func accept() async throws -> RawSocket {
    var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    try await eventually(within: patience, "a connection comes in") { poll(&ready, 1, 0) == 1 }
    let accepted = Glibc.accept(descriptor, nil, nil)
    guard accepted >= 0 else { throw SystemCallFailed("accept") }
    return RawSocket(accepted)
  }

  /// Writes as much as the kernel takes at once, without waiting; returns how many bytes that was, -1 if the other
  /// end is closed.
  func writeSome(_ bytes: [UInt8]) -> Int {
    let count = send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
    return count < 0 && errno == EAGAIN ? 0 : count
  }

  /// Writes all, in pieces as the other end reads.
  func write(_ text: String) async throws {
    var rest = Array(text.utf8)[...]
    try await eventually(within: patience, every: .milliseconds(1), "the other end reads") {
      while !rest.isEmpty {
        let count = writeSome(Array(rest.prefix(65_536)))
        guard count >= 0 else { throw SystemCallFailed("send") }
        if count == 0 { return false }
        rest = rest.dropFirst(count)
      }
      return true
    }
  }

  /// Writes `text` over and over, until the other end has not read for a while and the kernel holds no more, or until
  /// `limit` is passed; returns how many bytes that was.
  func writeUntilFull(_ text: String, atMost limit: Int = .max) async throws -> Int {
    let bytes = Array(String(repeating: text, count: 100).utf8)
    var written = 0
    var fullSince: ContinuousClock.Instant?
    try await eventually(within: patience, "the other end stops reading") {
      var count = 0
      repeat {
        count = writeSome(Array(bytes[(written % bytes.count)...]))
        guard count >= 0 else { throw SystemCallFailed("send") }
        written += count
        if count > 0 { fullSince = nil }
      } while count > 0 && written < limit
      if written >= limit { return true }
      let since = fullSince ?? .now
      fullSince = since
      return .now - since > .milliseconds(200)
    }
    return written
  }

  /// One message without its NUL; nil if the connection has ended.
  func message() async throws -> String? {
    var hasEnded = false
    return try await eventualValue(within: patience, every: .milliseconds(1), "a message, or the end") {
      () -> String?? in
      while true {
        if let message = unread.withLock({ Self.takeMessage(&$0) }) { return message }
        if hasEnded { return .some(nil) }
        guard let bytes = try readSome() else { return nil }
        hasEnded = bytes.isEmpty
        unread.withLock { $0 += bytes }
      }
    }
  }

  /// Reads until the other end closes; returns how many bytes came.
  func drain() async throws -> Int {
    var total = 0
    try await eventually(within: patience, "the other end closes") {
      while let bytes = try readSome() {
        if bytes.isEmpty { return true }
        total += bytes.count
      }
      return false
    }
    return total
  }

  private static func takeMessage(_ bytes: inout [UInt8]) -> String? {
    guard let end = bytes.firstIndex(of: 0) else { return nil }
    defer { bytes.removeFirst(end + 1) }
    return String(decoding: bytes[..<end], as: UTF8.self)
  }

  /// What is there; nil if nothing is, empty if the connection has ended.
  private func readSome() throws -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let count = recv(descriptor, &buffer, buffer.count, CInt(MSG_DONTWAIT))
    if count >= 0 { return Array(buffer.prefix(count)) }
    if errno == ECONNRESET { return [] }
    guard errno == EAGAIN else { throw SystemCallFailed("recv") }
    return nil
  }
}
