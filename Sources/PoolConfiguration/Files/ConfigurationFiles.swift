import Glibc

/// Reading the files themselves, with bounds.
enum ConfigurationFiles {
  /// 1 MiB: more than any pool needs, and little enough to parse at once.
  static let sizeLimit = 1 << 20
  static let dropInLimit = 256

  enum Failure: Error, Equatable {
    case missing
    case unreadable(String)
    case tooLarge
    case notARegularFile
    case notUTF8(line: Int)
  }

  static func read(_ path: String) throws(Failure) -> String {
    // Without O_NONBLOCK a named pipe would hang the pool.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT { throw .missing }
      throw .unreadable(errorText())
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .unreadable(errorText()) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notARegularFile }
    let bytes = try content(of: descriptor)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw .notUTF8(line: firstInvalidLine(bytes))
    }
    return text
  }

  private static func content(of descriptor: Int32) throws(Failure) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count == 0 { return bytes }
      if count < 0 {
        if errno == EINTR { continue }
        throw .unreadable(errorText())
      }
      bytes += buffer[..<count]
      if bytes.count > sizeLimit { throw .tooLarge }
    }
  }

  private static func firstInvalidLine(_ bytes: [UInt8]) -> Int {
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    return (lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0) + 1
  }

  /// `ollama-pool.d/*.yaml` for `ollama-pool.yaml`, in the order of their bytes; empty where there is no such folder.
  static func dropIns(besides path: String) throws(Failure) -> [String] {
    let folder = (path.hasSuffix(".yaml") ? String(path.dropLast(5)) : path) + ".d"
    guard let directory = opendir(folder) else {
      if errno == ENOENT { return [] }
      throw .unreadable(errorText())
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
      }
      if name.hasSuffix(".yaml"), !name.hasPrefix(".") { names.append(name) }
    }
    guard names.count <= dropInLimit else { throw .tooLarge }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { "\(folder)/\($0)" }
  }

  private static func errorText() -> String { String(cString: strerror(errno)) }
}
