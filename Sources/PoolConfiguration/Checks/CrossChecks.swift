import PoolCore

/// What no value alone can show: contradictions between values.
extension Settings {
  /// Where a key's value stands, if a file gave it.
  typealias Positions = [String: ConfigurationPosition]

  func contradictions(_ positions: Positions) -> [ConfigurationProblem] {
    openListeners(positions) + overlaps(positions) + bounds(positions) + duplicateGPUs(positions)
      + unknownClasses(positions) + placementsWithoutGPUs(positions) + groupsBesidePlacements(positions)
      + modelContradictions(positions) + twoSources(positions)
      + placementProblems(knownGPUs: listedUUIDs, memory: listedMemory, positions: positions).map(\.problem)
  }

  /// Refuses inherited sockets that would have been refused under `listen`.
  package func listenerCheck(inherited: [ListenAddress]) throws(ConfigurationError) {
    guard !allowOpenListener, access.isRequired == false else { return }
    let problems = inherited.filter { !$0.isLoopback }.map { address in
      ConfigurationProblem(
        at: nil, key: "inherited socket", Self.isOpen(address), expected: Self.loopbackOrPermission)
    }
    if !problems.isEmpty { throw ConfigurationError(problems: problems) }
  }

  private static func isOpen(_ address: ListenAddress) -> String {
    "\(address) can be reached from beyond this machine, without authentication"
  }
  private static let loopbackOrPermission =
    "a loopback address, access.anonymous: refuse (then whoever has a key comes in), or allow_open_listener: true to let "
    + "anyone in"

  private func twoSources(_ positions: Positions) -> [ConfigurationProblem] {
    guard sources.index != nil, let service = sources.service else { return [] }
    return [
      ConfigurationProblem(
        at: positions["sources.service"], key: "sources.service", "\(service) stands beside sources.index",
        expected: "one of them, and none for the other")
    ]
  }

  private var listeners: [(key: String, address: ListenAddress)] {
    listen.enumerated().map { (key: "listen[\($0)]", address: $1) }
      + (metricsListen.map { [(key: "metrics_listen", address: $0)] } ?? [])
  }

  private func openListeners(_ positions: Positions) -> [ConfigurationProblem] {
    if allowOpenListener { return [] }
    // Metrics have no keys.
    return listeners.filter { !$0.address.isLoopback && ($0.key == "metrics_listen" || !access.isRequired) }.map {
      listener in
      ConfigurationProblem(
        at: positions[listener.key], key: listener.key, Self.isOpen(listener.address),
        expected: listener.key == "metrics_listen"
          ? "a loopback address, or allow_open_listener: true to let anyone in" : Self.loopbackOrPermission)
    }
  }

  private func overlaps(_ positions: Positions) -> [ConfigurationProblem] {
    var problems: [ConfigurationProblem] = []
    for (index, listener) in listeners.enumerated() {
      if let earlier = listeners[..<index].first(where: { $0.address.overlaps(listener.address) }) {
        problems.append(
          ConfigurationProblem(
            at: positions[listener.key] ?? positions[earlier.key], key: listener.key,
            "\(listener.address) is taken by \(earlier.key), \(earlier.address)", expected: "an address of its own"))
      }
      let last = Int(instancePorts) + Self.instancePortSpan - 1
      if Int(instancePorts)...last ~= Int(listener.address.port) {
        problems.append(
          ConfigurationProblem(
            at: positions[listener.key] ?? positions["instance_ports"], key: listener.key,
            "port \(listener.address.port) is kept for instances by instance_ports",
            expected: "a port outside \(instancePorts) to \(last)"))
      }
    }
    return problems
  }

  private func bounds(_ positions: Positions) -> [ConfigurationProblem] {
    func ordered<Value: Comparable>(
      _ lowKey: String, _ low: Value, _ highKey: String, _ high: Value, _ text: (Value) -> String
    ) -> [ConfigurationProblem] {
      guard low > high else { return [] }
      return [
        ConfigurationProblem(
          at: positions[lowKey] ?? positions[highKey], key: lowKey,
          "\(text(low)) is more than \(highKey), \(text(high))",
          expected: "at most that")
      ]
    }
    let schedule = scaling.schedule.enumerated().flatMap { index, entry in
      let path = "scaling.schedule[\(index)]"
      let (bound, maximum) = entry.maximum.map { ("\(path).max", $0) } ?? ("scaling.max", scaling.max ?? .max)
      return ordered("\(path).min", entry.minimum ?? 0, bound, maximum) { "\($0)" }
    }
    return schedule + ordered("scaling.min", scaling.min, "scaling.max", scaling.max ?? .max) { "\($0)" }
      + ordered("queue.request_body", queue.requestBody, "queue.bodies", queue.bodies, \.description)
      + ordered("restarts.pause", restarts.pause, "restarts.pause_max", restarts.pauseMax, DurationText.render)
  }

  private func duplicateGPUs(_ positions: Positions) -> [ConfigurationProblem] {
    var seen: [String: Int] = [:]
    return (listedUUIDs ?? []).enumerated().compactMap { index, uuid in
      guard let first = seen[uuid] else {
        seen[uuid] = index
        return nil
      }
      return ConfigurationProblem(
        at: positions["gpus[\(index)].uuid"], key: "gpus[\(index)].uuid", "\(uuid) is also gpus[\(first)]",
        expected: "each GPU once")
    }
  }

  private func unknownClasses(_ positions: Positions) -> [ConfigurationProblem] {
    let wanted =
      [("access.default_class", access.defaultClass), ("access.anonymous_class", access.anonymousClass)]
      + users.sorted { $0.key < $1.key }.compactMap { name, user in user.className.map { ("users.\(name).class", $0) } }
    return wanted.filter { classes[$0.1] == nil }.map { key, name in
      ConfigurationProblem(
        at: positions[key], key: key, "there is no class \(name)",
        expected: "one of \(classes.keys.sorted().joined(separator: ", ")), or an entry under classes")
    }
  }

  private func placementsWithoutGPUs(_ positions: Positions) -> [ConfigurationProblem] {
    guard gpus == .cpu, !listedPlacements.isEmpty else { return [] }
    return [
      ConfigurationProblem(
        at: positions["placements"], key: "placements", "needs GPUs, and gpus is cpu",
        expected: "placements: auto, or a list under gpus")
    ]
  }

  private func groupsBesidePlacements(_ positions: Positions) -> [ConfigurationProblem] {
    guard gpusPerInstance > 1, !listedPlacements.isEmpty else { return [] }
    return [
      ConfigurationProblem(
        at: positions["gpus_per_instance"], key: "gpus_per_instance",
        "is \(gpusPerInstance), and placements lists the instances with their GPUs", expected: "one of the two")
    ]
  }

  private func modelContradictions(_ positions: Positions) -> [ConfigurationProblem] {
    var problems: [ConfigurationProblem] = []
    var seen: [String: String] = [:]
    for (name, model) in models.sorted(by: { $0.key < $1.key }) {
      let key = "models.\(name)"
      if let fixed = model.numCtx, let most = model.maxNumCtx, fixed > most {
        problems.append(
          ConfigurationProblem(
            at: positions["\(key).num_ctx"] ?? positions[key], key: "\(key).num_ctx",
            "\(fixed) is more than max_num_ctx, \(most)", expected: "at most that"))
      }
      if let other = seen.updateValue(name, forKey: ModelName.key(of: name)) {
        problems.append(
          ConfigurationProblem(
            at: positions[key], key: key, "is the same model as \(other)", expected: "each model once"))
      }
    }
    for (index, name) in preload.enumerated() where ModelName.isComputedElsewhere(name) {
      problems.append(
        ConfigurationProblem(
          at: positions["preload[\(index)]"], key: "preload[\(index)]", "\(name) is computed elsewhere",
          expected: "models that are loaded here"))
    }
    return problems
  }

  var listedUUIDs: [String]? {
    if case .list(let gpus) = gpus { gpus.map(\.uuid) } else { nil }
  }

  private var listedMemory: [String: ByteCount] {
    guard case .list(let gpus) = gpus else { return [:] }
    return Dictionary(gpus.compactMap { gpu in gpu.memory.map { (gpu.uuid, $0) } }) { first, _ in first }
  }

  var listedPlacements: [PlacementSettings] {
    if case .list(let placements) = placements { placements } else { [] }
  }
}
