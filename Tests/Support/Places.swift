import Foundation
import Glibc
import Synchronization

/// The package's own folder, so that tests find `config/`, `units/` and the like wherever they run.
package enum PackageRoot {
  package static let path = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  package static func path(to relativePath: String) -> String { path + "/" + relativePath }
}

/// The executables that were built along with the tests.
package enum BuiltProduct {
  /// Looks in `$OLLAMA_POOL_BIN_DIR` if that is set, else beside the running test bundle.
  package static func path(_ name: String) -> String {
    let folder =
      ProcessInfo.processInfo.environment["OLLAMA_POOL_BIN_DIR"]
      ?? URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
    return folder + "/" + name
  }

  /// A copy that every user may run: the checkout may lie where only its owner gets in.
  package static func copy(_ name: String, to folder: TemporaryDirectory) async throws -> String {
    let copy = folder.path(to: name)
    chmod(folder.path, 0o755)
    // Written by another process: whatever this one starts meanwhile would have the file open for a moment, and what is
    // open for writing can't be executed.
    let result = try await run("install", ["-m", "755", path(name), copy])
    guard result.end == .exited(0) else { throw SystemCallFailed(result.errorOutput) }
    return copy
  }
}

/// A fresh folder under /tmp that goes away, with all that is in it, when the last reference does.
/// The path is short enough for Unix sockets (sun_path has 108 bytes).
package final class TemporaryDirectory: Sendable {
  package let path: String

  package init() throws {
    var template = Array("/tmp/ollama-pool-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemCallFailed("mkdtemp") }
    path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  package func path(to name: String) -> String { path + "/" + name }

  /// Writes a file and returns its path.
  @discardableResult
  package func write(_ text: String, to name: String, permissions: Int = 0o644) throws -> String {
    let file = path(to: name)
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    try FileManager.default.setAttributes([.posixPermissions: permissions], ofItemAtPath: file)
    return file
  }
}

/// Below those from which the kernel gives connections their own end's port, and above the instances' of other tests.
private let portsToGiveOut = 20_000..<32_000
private let lastPort = Mutex(portsToGiveOut.lowerBound + Int(getpid()) * 16 % portsToGiveOut.count)

/// A TCP port of 127.0.0.1 that nothing listens on, and that this process has not been given before.
package func freePort() throws -> Int {
  for _ in portsToGiveOut {
    let port = lastPort.withLock { last in
      last += last + 1 < portsToGiveOut.upperBound ? 1 : 1 - portsToGiveOut.count
      return last
    }
    if try isFree(port) { return port }
  }
  throw SystemCallFailed("bind to 127.0.0.1", errno: EADDRINUSE)
}

private func isFree(_ port: Int) throws -> Bool {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  guard descriptor >= 0 else { throw SystemCallFailed("socket") }
  defer { close(descriptor) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
  address.sin_port = in_port_t(port).bigEndian
  return withUnsafePointer(to: address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
    }
  }
}

/// A call into the operating system that a fixture needed and did not get.
package struct SystemCallFailed: Error, CustomStringConvertible {
  package let description: String

  package init(_ what: String, errno code: Int32 = errno) {
    description = "\(what): \(String(cString: strerror(code)))"
  }
}
