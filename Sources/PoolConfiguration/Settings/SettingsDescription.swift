extension Settings: Encodable {
  /// In the names and forms of the file, so that the JSON can itself be read as a configuration.
  package func encode(to encoder: any Encoder) throws {
    try SettingsKeys.all.render(self).encode(to: encoder)
  }
}

/// What `config show` prints.
package enum SettingsDescription {
  private static let commentColumn = 44
  private static let flowLimit = 80

  /// All settings as YAML that can be read again, each with a comment that says where it came from.
  package static func render(_ configuration: LoadedConfiguration) -> String {
    var lines: [String] = []
    for file in configuration.files { lines.append("# from \(file)") }
    if configuration.files.isEmpty { lines.append("# no file: all by default") }
    for key in SettingsKeys.all.keys {
      if key.children.isEmpty {
        lines += self.lines(key, "", configuration)
      } else {
        lines.append("\(key.name):")
        for child in key.children { lines += self.lines(child, key.name + ".", configuration) }
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func lines(
    _ key: Key<Settings>, _ prefix: String, _ configuration: LoadedConfiguration
  ) -> [String] {
    let indent = prefix.isEmpty ? "" : "  "
    let note = key.note(configuration.settings).map { "; \($0)" } ?? ""
    let comment = "# " + origin(of: prefix + key.name, configuration) + note
    let value = key.render(configuration.settings)
    let oneLine = "\(indent)\(key.name): \(value.yaml)"
    if case .list(let entries) = value, oneLine.count > flowLimit {
      return ["\(indent)\(key.name):  \(comment)"] + entries.map { "\(indent)  - \($0.yaml)" }
    }
    if case .map(let pairs) = value, !pairs.isEmpty {
      return ["\(indent)\(key.name):"]
        + pairs.map { pair in
          let line = "\(indent)  " + Rendered.map([pair]).yaml.dropFirst().dropLast()
          return padded(line) + "# " + origin(of: "\(prefix)\(key.name).\(pair.key)", configuration)
        }
    }
    return [padded(oneLine) + comment]
  }

  private static func padded(_ line: String) -> String {
    line + String(repeating: " ", count: max(2, commentColumn - line.count))
  }

  private static func origin(of path: String, _ configuration: LoadedConfiguration) -> String {
    configuration.positions[path].map { "\($0.file):\($0.line)" } ?? "default"
  }
}
