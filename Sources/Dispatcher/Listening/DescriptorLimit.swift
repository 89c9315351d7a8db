import Glibc

/// How many files and connections this process may have open.
enum DescriptorLimit {
  /// Each client takes a descriptor and each request under way a second one; the usual soft limit of 1024 is kept low
  /// only for programs that use select(2).
  static func raise() {
    guard var limit, limit.rlim_cur < limit.rlim_max else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(resource, &limit)
  }

  /// How many clients leave enough for the rest: the instances' probes, the control socket, the console.
  static var clients: Int {
    let descriptors = Int(clamping: limit?.rlim_cur ?? 1024)
    return max(16, (descriptors - min(256, descriptors / 4)) / 2)
  }

  private static let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)

  private static var limit: rlimit? {
    var limit = rlimit()
    return getrlimit(resource, &limit) == 0 ? limit : nil
  }
}
