import GPUInventory
import Launching

/// Whether the instances' user may open the GPUs' nodes.
enum NodeExamination {
  private static let check = "nodes"

  /// What the nodes that are there let the user do; each once.
  static func access(_ gpus: [GPU], _ user: InstancesUser) -> [DeviceAccess] {
    var seen: Set<String> = []
    return gpus.flatMap(\.deviceNodes).filter { seen.insert($0).inserted }.compactMap {
      DeviceAccess(to: $0, of: user.user, besides: user.groups, isOwn: user.isOwn)
    }
  }

  static func findings(_ nodes: [DeviceAccess], _ user: InstancesUser, isInContainer: Bool) -> [Finding] {
    // Those of one kind in one line: a machine may have sixteen GPUs.
    var kinds: [(first: DeviceAccess, paths: [String])] = []
    for node in nodes {
      if let index = kinds.firstIndex(where: { $0.first.isLike(node) }) {
        kinds[index].paths.append(node.path)
      } else {
        kinds.append((node, [node.path]))
      }
    }
    return kinds.map { finding($0.first, $0.paths, user, isInContainer) }
  }

  private static func finding(
    _ node: DeviceAccess, _ paths: [String], _ user: InstancesUser, _ isInContainer: Bool
  ) -> Finding {
    let name = user.user.name
    let nodes = "\(paths.joined(separator: ", ")) (\(node.owner):\(node.group) \(node.mode))"
    if node.isOpen {
      return .ok(check, "\(nodes): \(name), which instances run as, may open them")
    }
    return .problem(
      check, "\(nodes): \(name), which instances run as, may not open them and would compute on the CPU",
      remedy: isInContainer && user.isOwn && node.isOpenToGroup
        ? "start the container with the group: `docker run --group-add GROUP`, where GROUP is the node's "
          + "on the host, by its number, or `podman run --group-add keep-groups`"
        : remedy(node, paths, user))
  }

  private static func remedy(_ node: DeviceAccess, _ paths: [String], _ user: InstancesUser) -> String {
    let name = user.user.name
    if user.isOwn, node.isOpenAfterLogin { return "log in again: \(name)'s groups have changed since" }
    if node.isOfGroupToJoin, node.isOpenToGroup {
      return user.isOwn
        ? "`sudo usermod -aG \(node.group) \(name)`, then log in again"
        : "`usermod -aG \(node.group) \(name)`; instances that start from then on have it"
    }
    if node.path.hasPrefix("/dev/nvidia") {
      return
        "`chmod \(node.isCapability ? "a+r" : "a+rw") \(paths.joined(separator: " "))` until the next boot; for good, `options nvidia "
        + "NVreg_DeviceFileMode=0666` in /etc/modprobe.d/nvidia.conf"
    }
    let kernel = node.path.split(separator: "/").last ?? ""
    let pattern = kernel.hasPrefix("renderD") ? "renderD*" : kernel
    return "a rule of udev, `KERNEL==\"\(pattern)\", GROUP=\"render\", MODE=\"0660\"` in "
      + "/etc/udev/rules.d/70-gpu.rules, then `udevadm trigger`"
  }
}

extension DeviceAccess {
  fileprivate func isLike(_ other: DeviceAccess) -> Bool {
    var same = other
    same.path = path
    return self == same && isCapability == other.isCapability && isOfNVIDIA == other.isOfNVIDIA
  }

  private var isOfNVIDIA: Bool { path.hasPrefix("/dev/nvidia") }

  /// Whether its group may do what its user has to.
  fileprivate var isOpenToGroup: Bool {
    let group = mode.dropFirst(3).prefix(3)
    return group.contains("r") && (isCapability || group.contains("w"))
  }
}
