import Glibc

package enum DeviceNode {
  /// Whether the node is there. By lstat(2), since access(2) asks the cgroup's device rules too: a process that may not
  /// open a node, such as a supervisor that was started before the driver was loaded, would take it for missing.
  package static func exists(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0
  }
}
