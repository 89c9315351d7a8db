extension Settings {
  /// What is wrong with the placements on a machine with these GPUs: unknown ones, one twice in a placement, one in
  /// several placements without `shared: true` on each, and ids that are given twice.
  ///
  /// The reader asks this for a list under `gpus`. Where the GPUs are found at run time, ask again with them, in the
  /// order of their numbers.
  package func placementProblems(knownGPUs: [String]) -> [ConfigurationProblem] {
    placementProblems(knownGPUs: knownGPUs, positions: [:])
  }

  /// `knownGPUs` is `nil` where they aren't known yet: then every GPU exists, and a number is never the same as a UUID.
  package func placementProblems(
    knownGPUs: [String]?, positions: [String: ConfigurationPosition]
  ) -> [ConfigurationProblem] {
    guard case .list(let placements) = placements else { return [] }
    var problems: [ConfigurationProblem] = []
    var users: [GPUReference: (key: String, isShared: Bool)] = [:]
    for (placementIndex, placement) in placements.enumerated() {
      var own: Set<GPUReference> = []
      for (index, reference) in placement.gpus.enumerated() {
        let key = "placements[\(placementIndex)].gpus[\(index)]"
        func report(_ what: String, expected: String) {
          problems.append(ConfigurationProblem(at: positions[key], key: key, what, expected: expected))
        }
        guard let gpu = Self.resolve(reference, knownGPUs) else {
          report("\(reference) is no known GPU", expected: "one of \(Self.listing(knownGPUs ?? []))")
          continue
        }
        guard own.insert(gpu).inserted else {
          report("\(reference) is named twice", expected: "each GPU once in a placement")
          continue
        }
        if let user = users[gpu], !(user.isShared && placement.shared) {
          report("\(reference) is also used by \(user.key)", expected: "a GPU of its own, or shared: true on both")
        }
        users[gpu] = (
          key: "placements[\(placementIndex)]", isShared: placement.shared && users[gpu]?.isShared != false
        )
      }
    }
    // What shares a GPU by mistake has its number for an id as well: one word is enough.
    return problems.isEmpty ? duplicateIDs(placements, positions) : problems
  }

  /// Placements whose instances need more memory than their GPUs have, alone or together with others that share them.
  ///
  /// - Parameter memory: of the GPUs where it is known, by UUID.
  package func memoryProblems(
    _ memory: [String: ByteCount], knownGPUs: [String]?, positions: [String: ConfigurationPosition]
  ) -> [ConfigurationProblem] {
    guard case .list(let placements) = placements else { return [] }
    var problems: [ConfigurationProblem] = []
    // Bytes that the placements so far take, by the GPU: an instance spreads over its GPUs.
    var taken: [String: Int] = [:]
    for (index, placement) in placements.enumerated() {
      let gpus = placement.gpus.compactMap { reference -> String? in
        if case .uuid(let uuid) = Self.resolve(reference, knownGPUs) { uuid } else { nil }
      }
      let sizes = gpus.compactMap { memory[$0]?.bytes }
      guard let needed = neededMemory(in: placement), !gpus.isEmpty, sizes.count == placement.gpus.count else {
        continue
      }
      let share = needed.bytes / gpus.count
      let free = zip(gpus, sizes).reduce(0) { $0 + max(0, $1.1 - taken[$1.0, default: 0]) }
      if needed.bytes > free {
        let key = "placements[\(index)].gpu_memory"
        let others = sizes.reduce(0, +) > free ? " beside those that share them" : ""
        problems.append(
          ConfigurationProblem(
            at: positions[key] ?? positions["placements[\(index)].gpus"] ?? positions["gpu_memory"], key: key,
            "its instance needs \(needed) of GPU memory, and its GPUs have \(ByteCount(bytes: free))\(others)",
            expected: "less, or more GPUs"))
      }
      for gpu in gpus { taken[gpu, default: 0] += share }
    }
    return problems
  }

  /// One without an id has that of its first GPU's number: what the file says, or the position in its list. Which number
  /// a GPU has that was found is not known here.
  private func duplicateIDs(
    _ placements: [PlacementSettings], _ positions: [String: ConfigurationPosition]
  ) -> [ConfigurationProblem] {
    var seen: [String: Int] = [:]
    return placements.enumerated().compactMap { index, placement in
      let number: Int? =
        switch placement.gpus.first {
        case .index(let number): number
        case .uuid(let uuid): listedUUIDs?.firstIndex(of: uuid)
        case nil: nil
        }
      guard let id = placement.id ?? number.map({ "gpu\($0)" }) else { return nil }
      guard let first = seen[id] else {
        seen[id] = index
        return nil
      }
      let key = "placements[\(index)].id"
      return ConfigurationProblem(
        at: positions[key] ?? positions["placements[\(index)].gpus"], key: key,
        "\(id) is also the id of placements[\(first)]", expected: "each id once")
    }
  }

  /// The GPU's UUID where it is known, so that a number and a UUID can be told to mean the same.
  private static func resolve(_ reference: GPUReference, _ knownGPUs: [String]?) -> GPUReference? {
    guard let knownGPUs else { return reference }
    switch reference {
    case .index(let index): return knownGPUs.indices.contains(index) ? .uuid(knownGPUs[index]) : nil
    case .uuid(let uuid): return knownGPUs.contains(uuid) ? reference : nil
    }
  }

  private static func listing(_ uuids: [String]) -> String {
    let shown = uuids.enumerated().prefix(8).map { "\($0) (\($1))" }
    return shown.joined(separator: ", ") + (uuids.count > 8 ? ", …" : "")
  }
}
