import Glibc

/// Who descends from whom, by /proc.
enum ProcessTree {
  /// The processes below one, zombies left out.
  static func descendants(of root: pid_t) -> [pid_t] {
    var children: [pid_t: [pid_t]] = [:]
    for processID in FolderList.names(in: "/proc").compactMap({ pid_t($0) }) {
      guard let parent = ProcessFiles.parent(of: processID, unlessZombie: true) else { continue }
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
}
