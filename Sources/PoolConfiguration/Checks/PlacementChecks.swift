extension Settings {
  /// What is wrong with one of the placements.
  package struct PlacementProblem {
    /// The placement's position in the list.
    package var placement: Int
    package var problem: ConfigurationProblem
  }

  /// What is wrong with the placements on a machine with these GPUs: unknown ones, one twice in a placement, one in
  /// several placements without `shared: true` on each, ids that are given twice, and more memory than there is.
  ///
  /// A placement that has a problem takes nothing from those after it: it is the one that can't be.
  ///
  /// The reader asks this for a list under `gpus`. Where the GPUs are found at run time, ask again with them, in the
  /// order of their numbers.
  /// - Parameters:
  ///   - knownGPUs: nil where they aren't known yet: then every GPU exists, and a number is never the same as a UUID.
  ///   - memory: of the GPUs where it is known, by UUID.
  package func placementProblems(
    knownGPUs: [String]?, memory: [String: ByteCount] = [:], positions: [String: ConfigurationPosition] = [:]
  ) -> [PlacementProblem] {
    guard case .list(let placements) = placements else { return [] }
    var checks = PlacementChecks(settings: self, knownGPUs: knownGPUs, positions: positions)
    for (index, placement) in placements.enumerated() { checks.checkGPUs(of: placement, index) }
    for (index, placement) in placements.enumerated() { checks.checkID(of: placement, index) }
    for (index, placement) in placements.enumerated() { checks.checkMemory(of: placement, index, memory) }
    return checks.problems
  }
}

private struct PlacementChecks {
  let settings: Settings
  let knownGPUs: [String]?
  let positions: [String: ConfigurationPosition]
  private(set) var problems: [Settings.PlacementProblem] = []
  private var users: [GPUReference: (key: String, isShared: Bool)] = [:]
  private var ids: [String: Int] = [:]
  /// Bytes that the placements so far take, by the GPU: an instance spreads over its GPUs.
  private var taken: [String: Int] = [:]

  init(settings: Settings, knownGPUs: [String]?, positions: [String: ConfigurationPosition]) {
    self.settings = settings
    self.knownGPUs = knownGPUs
    self.positions = positions
  }

  private func hasProblem(_ placement: Int) -> Bool { problems.contains { $0.placement == placement } }

  mutating func checkGPUs(of placement: PlacementSettings, _ placementIndex: Int) {
    var own: Set<GPUReference> = []
    for (index, reference) in placement.gpus.enumerated() {
      let key = "placements[\(placementIndex)].gpus[\(index)]"
      func report(_ what: String, expected: String) {
        problems.append(
          .init(
            placement: placementIndex,
            problem: ConfigurationProblem(at: positions[key], key: key, what, expected: expected)))
      }
      guard let gpu = resolve(reference) else {
        report("\(reference) is no known GPU", expected: "one of \(listing)")
        continue
      }
      guard own.insert(gpu).inserted else {
        report("\(reference) is named twice", expected: "each GPU once in a placement")
        continue
      }
      if let user = users[gpu], !(user.isShared && placement.shared) {
        report("\(reference) is also used by \(user.key)", expected: "a GPU of its own, or shared: true on both")
      }
    }
    if hasProblem(placementIndex) { return }
    for gpu in own { users[gpu] = (key: "placements[\(placementIndex)]", isShared: placement.shared) }
  }

  /// One without an id has that of its first GPU's number: what the file says, or the position in its list. Which
  /// number a GPU has that was found is not known here.
  mutating func checkID(of placement: PlacementSettings, _ index: Int) {
    let number: Int? =
      switch placement.gpus.first {
      case .index(let number): number
      case .uuid(let uuid): settings.listedUUIDs?.firstIndex(of: uuid)
      case nil: nil
      }
    // What shares a GPU by mistake has its number for an id as well: one word is enough.
    guard !hasProblem(index), let id = placement.id ?? number.map({ "gpu\($0)" }) else { return }
    guard let first = ids[id] else {
      ids[id] = index
      return
    }
    let key = "placements[\(index)].id"
    problems.append(
      .init(
        placement: index,
        problem: ConfigurationProblem(
          at: positions[key] ?? positions["placements[\(index)].gpus"], key: key,
          "\(id) is also the id of placements[\(first)]", expected: "each id once")))
  }

  mutating func checkMemory(of placement: PlacementSettings, _ index: Int, _ memory: [String: ByteCount]) {
    let gpus = placement.gpus.compactMap { reference -> String? in
      if case .uuid(let uuid) = resolve(reference) { uuid } else { nil }
    }
    let sizes = gpus.compactMap { memory[$0]?.bytes }
    guard !hasProblem(index), let needed = settings.neededMemory(in: placement), !gpus.isEmpty,
      sizes.count == placement.gpus.count
    else { return }
    let free = zip(gpus, sizes).reduce(0) { $0 + max(0, $1.1 - taken[$1.0, default: 0]) }
    guard needed.bytes <= free else {
      let key = "placements[\(index)].gpu_memory"
      let others = sizes.reduce(0, +) > free ? " beside those that share them" : ""
      problems.append(
        .init(
          placement: index,
          problem: ConfigurationProblem(
            at: positions[key] ?? positions["placements[\(index)].gpus"] ?? positions["gpu_memory"], key: key,
            "its instance needs \(needed) of GPU memory, and its GPUs have \(ByteCount(bytes: free))\(others)",
            expected: "less, or more GPUs")))
      return
    }
    for gpu in gpus { taken[gpu, default: 0] += needed.bytes / gpus.count }
  }

  /// The GPU's UUID where it is known, so that a number and a UUID can be told to mean the same.
  private func resolve(_ reference: GPUReference) -> GPUReference? {
    guard let knownGPUs else { return reference }
    switch reference {
    case .index(let index): return knownGPUs.indices.contains(index) ? .uuid(knownGPUs[index]) : nil
    case .uuid(let uuid): return knownGPUs.contains(uuid) ? reference : nil
    }
  }

  private var listing: String {
    let uuids = knownGPUs ?? []
    let shown = uuids.enumerated().prefix(8).map { "\($0) (\($1))" }
    return shown.joined(separator: ", ") + (uuids.count > 8 ? ", …" : "")
  }
}
