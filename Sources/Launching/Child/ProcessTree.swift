import Glibc

/// Who descends from whom, by /proc.
enum ProcessTree {
  /// The processes below one, zombies left out.
  static func descendants(of root: pid_t) -> [pid_t] {
    var children: [pid_t: [pid_t]] = [:]
    for processID in FolderList.names(in: "/proc").compactMap({ pid_t($0) }) {
      guard let parent = parent(ofLiving: processID) else { continue }
      children[parent, default: []].append(processID)
    }
    var found: [pid_t] = []
    var next = children[root] ?? []
    while let processID = next.popLast() {
      found.append(processID)
      next += children[processID] ?? []
    }
    return found
  }

  /// From "PID (name) state PPID …", where the name may hold anything.
  private static func parent(ofLiving processID: pid_t) -> pid_t? {
    let descriptor = open("/proc/\(processID)/stat", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    let text = String(unsafeUninitializedCapacity: 512) { max(0, read(descriptor, $0.baseAddress, $0.count)) }
    guard let nameEnd = text.lastIndex(of: ")") else { return nil }
    let fields = text[nameEnd...].dropFirst().split(separator: " ", maxSplits: 2)
    guard fields.count >= 2, fields[0] != "Z" else { return nil }
    return pid_t(fields[1])
  }
}
