import Glibc

/// This program's own file.
enum Executable {
  static func path() throws(SimulatorError) -> String {
    var link = [CChar](repeating: 0, count: 4096)
    guard readlink("/proc/self/exe", &link, link.count - 1) > 0 else {
      throw SimulatorError(call: "readlink /proc/self/exe", errno: errno)
    }
    return link.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  /// Begins anew with another command line.
  static func become(_ words: [String]) throws(SimulatorError) -> Never {
    let path = try path()
    let arguments = words.map { strdup($0) } + [nil]
    execv(path, arguments)
    throw SimulatorError(call: "exec \(path)", errno: errno)
  }
}
