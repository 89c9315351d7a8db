/// Where a GPU is in the machine.
package struct GPULocation: Hashable, Sendable {
  package var uuid: String
  /// What people call it by; the order in which GPUs are taken.
  package var number: Int
  /// nil where the machine has no nodes, or doesn't tell.
  package var numaNode: Int?
  /// From the root complex down to the GPU itself, as sysfs names them; empty where that is not known.
  package var pciPath: [String]

  package init(uuid: String, number: Int, numaNode: Int? = nil, pciPath: [String] = []) {
    self.uuid = uuid
    self.number = number
    self.numaNode = numaNode
    self.pciPath = pciPath
  }
}

/// GPUs divided into groups of a size, close ones together: what one instance computes on passes between its GPUs.
///
/// The machine is a tree: NUMA nodes, in each root complexes, below these switches, below these GPUs. From the bottom
/// up each part of it forms as many groups as it can, the lowest numbers first, and passes the rest up. So a group
/// reaches no further than it must: none of its GPUs could have been in a full group further down.
package struct GPUGroups: Hashable, Sendable {
  package struct Group: Hashable, Sendable {
    /// UUIDs, by number.
    package var gpus: [String]
    /// What they have in common, in words.
    package var reason: String
  }

  /// By the lowest number in each.
  package private(set) var groups: [Group] = []
  /// What fills no group and stays unused, by number.
  package private(set) var leftOver: [GPULocation] = []
  package let size: Int

  /// - Parameters:
  ///   - gpus: in any order; of several with one UUID the one of the lowest number counts.
  ///   - size: of a group, at least 1.
  package init(_ gpus: [GPULocation], of size: Int) {
    self.size = max(1, size)
    var seen: Set<String> = []
    let inTurn = gpus.sorted { ($0.number, $0.uuid) < ($1.number, $1.uuid) }.filter { seen.insert($0.uuid).inserted }
    var formed: [[GPULocation]] = []
    leftOver = Self.form(from: inTurn, of: self.size, level: 0, into: &formed)
    groups = formed.sorted { ($0[0].number, $0[0].uuid) < ($1[0].number, $1[0].uuid) }
      .map { Group(gpus: $0.map(\.uuid), reason: Self.reason(for: $0)) }
  }

  /// What stays unused, in words; nil where nothing does.
  package var problem: String? {
    guard !leftOver.isEmpty else { return nil }
    let numbers = list(leftOver.map { String($0.number) })
    return leftOver.count == 1
      ? "GPU \(numbers) stays unused: it fills no group of \(size)"
      : "GPUs \(numbers) stay unused: they fill no group of \(size)"
  }

  /// Forms groups within each part of the machine, and then of what is left of all of them.
  ///
  /// - Returns: the rest, by number.
  private static func form(
    from gpus: [GPULocation], of size: Int, level: Int, into formed: inout [[GPULocation]]
  ) -> [GPULocation] {
    var parts: [String: [GPULocation]] = [:]
    var rest: [GPULocation] = []
    for gpu in gpus {
      if let part = gpu.part(at: level) { parts[part, default: []].append(gpu) } else { rest.append(gpu) }
    }
    for part in parts.values {
      rest += part.count >= size ? form(from: part, of: size, level: level + 1, into: &formed) : part
    }
    rest.sort { ($0.number, $0.uuid) < ($1.number, $1.uuid) }
    while rest.count >= size {
      formed.append(Array(rest.prefix(size)))
      rest.removeFirst(size)
    }
    return rest
  }

  private static func reason(for group: [GPULocation]) -> String {
    guard let first = group.first, group.count > 1 else { return "alone" }
    let nodes = Set(group.map(\.numaNode))
    if nodes.count > 1 {
      let known = nodes.compactMap(\.self).sorted().map(String.init)
      return nodes.contains(nil)
        ? "across NUMA nodes that are not all known" : "across NUMA nodes \(list(known))"
    }
    let shared = group.dropFirst().reduce(first.pciPath.count) { shared, gpu in
      min(shared, zip(first.pciPath, gpu.pciPath).prefix { $0 == $1 }.count)
    }
    switch shared {
    case 0: return first.numaNode.map { "on NUMA node \($0)" } ?? "in one machine"
    case 1: return "below one PCI root complex"
    default: return "below one PCI switch"
    }
  }
}

extension GPULocation {
  /// The name of the part of the machine that it is in, from the NUMA node at level 0 down; nil below its own level.
  fileprivate func part(at level: Int) -> String? {
    if level == 0 { return numaNode.map { "node \($0)" } ?? "no node" }
    return level <= 32 && pciPath.indices.contains(level - 1) ? pciPath[level - 1] : nil
  }
}

/// `0`, `0 and 1`, `0, 1 and 2`
private func list(_ words: [String]) -> String {
  guard let last = words.last, words.count > 1 else { return words.first ?? "" }
  return words.dropLast().joined(separator: ", ") + " and " + last
}
