import Yams

/// One key of a map in the file, and where its value goes.
struct Key<Root>: Sendable {
  let name: String
  let isRequired: Bool
  /// The keys below, where this one is a group.
  let children: [Key<Root>]
  let expected: String
  let read: @Sendable (_ node: Node, _ path: String, _ root: inout Root, _ reading: inout Reading) -> Void
  let render: @Sendable (Root) -> Rendered
  /// What `config show` says besides, such as what a policy makes of `auto`.
  let note: @Sendable (Root) -> String?

  /// A key whose value takes the place of an earlier file's.
  static func value<Value>(
    _ name: String, _ property: any WritableKeyPath<Root, Value> & Sendable, _ format: ValueFormat<Value>,
    isRequired: Bool = false, note: @escaping @Sendable (Root) -> String? = { _ in nil }
  ) -> Key {
    Key(
      name: name, isRequired: isRequired, children: [], expected: format.expected,
      read: { node, path, root, reading in
        if let value = format.read(node, path, &reading) { root[keyPath: property] = value }
      },
      render: { format.render($0[keyPath: property]) }, note: note)
  }

  /// A key whose map is merged into an earlier file's.
  static func merged<Value>(
    _ name: String, _ property: any WritableKeyPath<Root, [String: Value]> & Sendable,
    _ format: ValueFormat<[String: Value]>
  ) -> Key {
    Key(
      name: name, isRequired: false, children: [], expected: format.expected,
      read: { node, path, root, reading in
        if node.isNothing { return }
        guard let map = format.read(node, path, &reading) else { return }
        root[keyPath: property].merge(map) { $1 }
      },
      render: { format.render($0[keyPath: property]) }, note: { _ in nil })
  }

  static func group(_ name: String, _ children: [Key<Root>]) -> Key {
    let map = KeyMap(children)
    return Key(
      name: name, isRequired: false, children: children, expected: "a map",
      read: { node, path, root, reading in map.read(node, path, into: &root, &reading) },
      render: { map.render($0) }, note: { _ in nil })
  }
}

/// The keys that one map of the file may hold, in the order in which they are shown.
struct KeyMap<Root>: Sendable {
  let keys: [Key<Root>]

  init(_ keys: [Key<Root>]) { self.keys = keys }

  /// Every path, such as `scaling` and `scaling.min`.
  var paths: [String] { keys.flatMap { key in [key.name] + key.children.map { "\(key.name).\($0.name)" } } }

  func render(_ root: Root) -> Rendered { .map(keys.map { (key: $0.name, value: $0.render(root)) }) }

  /// Reads the map `node`, which stands at `path` (empty: the file itself). Reports unknown and missing keys, and
  /// whatever is wrong below.
  func read(_ node: Node, _ path: String, into root: inout Root, _ reading: inout Reading) {
    // A group whose keys are all comments has no value.
    if node.isNothing { return }
    let shownPath = path.isEmpty ? "the file" : path
    guard case .mapping(let mapping) = node else {
      return reading.reportValue(shownPath, node, expected: "a map with keys such as \(keys[0].name)")
    }
    let prefix = path.isEmpty ? "" : path + "."
    var missing = keys.filter(\.isRequired)
    for (keyNode, valueNode) in mapping {
      guard case .scalar(let scalar) = keyNode else {
        reading.report(shownPath, at: keyNode, "has a key that is no word", expected: oneOfTheNames)
        continue
      }
      let name = scalar.string
      if YAMLDocument.isReportedDuplicate(name) { continue }
      missing.removeAll { $0.name == name }
      if let key = keys.first(where: { $0.name == name }) {
        reading.found(prefix + name, at: valueNode)
        key.read(valueNode, prefix + name, &root, &reading)
      } else {
        reading.report(prefix + Reading.quote(name), at: keyNode, "is no known key", expected: remedy(name, prefix))
      }
    }
    for key in missing { reading.report(prefix + key.name, at: node, "is missing", expected: key.expected) }
  }

  private var oneOfTheNames: String { "one of " + keys.map(\.name).joined(separator: ", ") }

  private func remedy(_ unknown: String, _ prefix: String) -> String {
    let near = NearestName.of(unknown, in: keys.map(\.name)).map { prefix + $0 }
    let elsewhere = SettingsKeys.all.paths.first { $0.split(separator: ".").last.map(String.init) == unknown }
    return (near ?? elsewhere).map { "\($0) (did you mean that?)" } ?? oneOfTheNames
  }
}
