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

private let portsGivenOut = Mutex<Set<Int>>([])

/// A TCP port of 127.0.0.1 that nothing listens on, and that this process has not been given before.
package func freePort() throws -> Int {
  while true {
    let port = try unusedPort()
    if portsGivenOut.withLock({ $0.insert(port).inserted }) { return port }
  }
}

private func unusedPort() throws -> Int {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  guard descriptor >= 0 else { throw SystemCallFailed("socket") }
  defer { close(descriptor) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let result = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
      bind(descriptor, pointer, length) == 0 ? getsockname(descriptor, pointer, &length) : -1
    }
  }
  guard result == 0 else { throw SystemCallFailed("bind to 127.0.0.1:0") }
  return Int(UInt16(bigEndian: address.sin_port))
}

/// A call into the operating system that a fixture needed and did not get.
package struct SystemCallFailed: Error, CustomStringConvertible {
  package let description: String

  package init(_ what: String, errno code: Int32 = errno) {
    description = "\(what): \(String(cString: strerror(code)))"
  }
}
