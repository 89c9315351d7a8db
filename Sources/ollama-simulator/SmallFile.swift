import Glibc

/// Reading and writing files of a few kilobytes.
enum SmallFile {
  /// At most `limit` bytes of a file; nil when it cannot be read.
  static func read(_ path: String, limit: Int) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var content = [UInt8](repeating: 0, count: limit)
    var length = 0
    while length < limit {
      let count = content.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + length, limit - length) }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { return nil }
      if count == 0 { break }
      length += count
    }
    return Array(content[..<length])
  }

  /// Replaces a file as a whole, so that other servers see the old one or the new one.
  static func write(_ content: [UInt8], to path: String) throws(SimulatorError) {
    let temporary = path + ".\(getpid()).partial"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw SimulatorError(call: "open \(temporary)", errno: errno) }
    let count = content.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    let code = errno
    close(descriptor)
    guard count == content.count, rename(temporary, path) == 0 else {
      let reason = count == content.count ? errno : code
      unlink(temporary)
      throw SimulatorError(call: "write \(path)", errno: reason)
    }
  }

  /// Makes a folder and those above it.
  static func makeFolder(_ path: String) throws(SimulatorError) {
    var end = path.startIndex
    while end < path.endIndex {
      end = path[path.index(after: end)...].firstIndex(of: "/") ?? path.endIndex
      let part = String(path[..<end])
      if mkdir(part, 0o755) == 0 || errno == EEXIST { continue }
      throw SimulatorError(call: "mkdir \(part)", errno: errno)
    }
    var information = stat()
    guard stat(path, &information) == 0, information.st_mode & S_IFMT == S_IFDIR else {
      throw SimulatorError(call: "mkdir \(path)", errno: ENOTDIR)
    }
  }

  /// The names in a folder.
  static func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names
  }
}
