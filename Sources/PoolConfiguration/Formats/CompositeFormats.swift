import PoolCore
import Yams

extension ValueFormat where Value == [String: String] {
  /// Variables for instances. Those that the pool sets itself are refused with the key that sets them.
  static var environment: Self {
    let expected = "a map of variables to texts, such as OLLAMA_FLASH_ATTENTION: 1"
    return ValueFormat(
      expected: expected,
      read: { node, path, reading in
        guard case .mapping(let mapping) = node else {
          reading.reportValue(path, node, expected: expected)
          return nil
        }
        return mapping.reduce(into: [:]) { variables, entry in
          guard case .scalar(let key) = entry.key else {
            return reading.report(path, at: entry.key, "has a key that is no word", expected: expected)
          }
          if YAMLDocument.isReportedDuplicate(key.string) { return }
          let name = key.string
          let entryPath = "\(path).\(Reading.quote(name))"
          reading.found(entryPath, at: entry.value)
          if let remedy = InstanceEnvironment.remedy(insteadOf: name) {
            reading.report(entryPath, at: entry.key, "is set by the pool", expected: remedy)
          } else if !InstanceEnvironment.isName(name) {
            reading.report(entryPath, at: entry.key, "is no variable's name", expected: "letters, digits and _")
          } else if case .scalar(let value) = entry.value, !entry.value.isNothing,
            InstanceEnvironment.isValue(value.string)
          {
            variables[name] = value.string
          } else {
            reading.reportValue(entryPath, entry.value, expected: "text of one line; \"\" for an empty one")
          }
        }
      },
      render: { variables in
        .map(variables.sorted { $0.key < $1.key }.map { (key: $0.key, value: .text($0.value)) })
      })
  }
}

extension ValueFormat {
  /// A list whose entries are maps, each with the same keys.
  fileprivate static func maps<Entry: Sendable>(
    _ plural: String, least: Int = 1, most: Int, blank: Entry, _ keys: [Key<Entry>]
  ) -> Self where Value == [Entry] {
    ValueFormat<Entry>.map(blank: blank, keys).list(plural, least: least, most: most)
  }

  /// A map with these keys.
  fileprivate static func map(blank: Value, _ keys: [Key<Value>]) -> Self {
    let map = KeyMap(keys)
    let defaults = Dictionary(uniqueKeysWithValues: keys.map { ($0.name, $0.render(blank).yaml) })
    return ValueFormat(
      expected: "a map with keys such as \(keys[0].name)",
      read: { node, path, reading in
        guard case .mapping = node else {
          reading.reportValue(path, node, expected: "a map with keys such as \(keys[0].name)")
          return nil
        }
        var entry = blank
        map.read(node, path, into: &entry, &reading)
        return entry
      },
      // What an entry leaves out is left out again.
      render: { entry in
        .map(
          keys.compactMap { key in
            let value = key.render(entry)
            return value.yaml == defaults[key.name] && !key.isRequired ? nil : (key: key.name, value: value)
          })
      })
  }
}

extension ValueFormat {
  /// A map of names to maps, each with the same keys.
  ///
  /// - Parameter blank: what the entry of a name is where it says nothing.
  fileprivate static func named<Entry: Sendable>(
    _ names: String, _ name: ValueFormat<String>, most: Int, _ keys: [Key<Entry>],
    blank: @escaping @Sendable (String) -> Entry
  ) -> Self where Value == [String: Entry] {
    let expected = "a map of at most \(most) \(names) to maps with keys such as \(keys[0].name)"
    return ValueFormat(
      expected: expected,
      read: { node, path, reading in
        guard case .mapping(let mapping) = node, mapping.count <= most else {
          reading.reportValue(path, node, expected: expected)
          return nil
        }
        var entries: Value = [:]
        for (key, value) in mapping {
          if case .scalar(let scalar) = key, YAMLDocument.isReportedDuplicate(scalar.string) { continue }
          guard let named = name.read(key, path, &reading) else { continue }
          let entryPath = "\(path).\(named)"
          reading.found(entryPath, at: value)
          entries[named] = ValueFormat<Entry>.map(blank: blank(named), keys).read(value, entryPath, &reading)
        }
        return entries
      },
      render: { entries in
        .map(
          entries.sorted { $0.key < $1.key }.map { named, entry in
            (key: named, value: ValueFormat<Entry>.map(blank: blank(named), keys).render(entry))
          })
      })
  }
}

extension ValueFormat where Value == [String: ModelSettings] {
  static var models: Self {
    .named("models' names", .modelName, most: 256, SettingsKeys.model) { _ in ModelSettings() }
  }
}

extension ValueFormat where Value == [String: ClassSettings] {
  static var classes: Self {
    .named("classes", .className, most: 64, SettingsKeys.userClass, blank: ClassSettings.blank)
  }
}

extension ValueFormat where Value == [String: UserSettings] {
  static var users: Self {
    .named("users", .proxyUserName, most: 10_000, SettingsKeys.user) { _ in UserSettings() }
  }
}

extension ValueFormat where Value == [ScheduledBounds] {
  static var schedule: Self {
    .maps("entries", least: 0, most: 64, blank: ScheduledBounds(), SettingsKeys.scheduledBounds)
  }
}

extension ValueFormat where Value == GPUChoice {
  static var gpus: Self {
    let list = ValueFormat<[GPUSettings]>.maps(
      "GPUs", most: Placement.most, blank: GPUSettings(uuid: ""), SettingsKeys.gpu)
    return ValueFormat(
      expected: "auto, cpu or \(list.expected)",
      read: { node, path, reading in
        if case .scalar(let scalar) = node {
          switch scalar.string {
          case "auto": return .auto
          case "cpu": return .cpu
          default:
            reading.reportValue(path, node, expected: "auto, cpu or \(list.expected)")
            return nil
          }
        }
        return list.read(node, path, &reading).map { .list($0) }
      },
      render: { choice in
        switch choice {
        case .auto: .text("auto")
        case .cpu: .text("cpu")
        case .list(let gpus): list.render(gpus)
        }
      })
  }
}

extension ValueFormat where Value == GPUReference {
  static var gpuReference: Self {
    .scalar(
      "a GPU's UUID or number",
      render: { reference in
        switch reference {
        case .index(let index): .integer(index)
        case .uuid(let uuid): .text(uuid)
        }
      }
    ) { text in
      if text.allSatisfy({ $0.isASCII && $0.isNumber }) {
        return Int(text).flatMap { 0...1_023 ~= $0 ? .index($0) : nil }
      }
      return text.utf8.count <= 95 && text.isMade(of: "-_") ? .uuid(text) : nil
    }
  }
}

extension ValueFormat where Value == PlacementChoice {
  static var placements: Self {
    let list = ValueFormat<[PlacementSettings]>.maps(
      "placements", most: Placement.most, blank: PlacementSettings(gpus: []), SettingsKeys.placement)
    return ValueFormat(
      expected: "auto or \(list.expected)",
      read: { node, path, reading in
        if case .scalar(let scalar) = node {
          if scalar.string == "auto" { return .auto }
          reading.reportValue(path, node, expected: "auto or \(list.expected)")
          return nil
        }
        return list.read(node, path, &reading).map { .list($0) }
      },
      render: { choice in
        switch choice {
        case .auto: .text("auto")
        case .list(let placements): list.render(placements)
        }
      })
  }
}
