/// A value as the file would say it; what `config show` prints and encodes.
enum Rendered: Sendable {
  case bool(Bool)
  case integer(Int)
  case number(Double)
  /// Also keywords, durations and sizes.
  case text(String)
  case list([Rendered])
  case map([(key: String, value: Rendered)])

  /// One line of YAML that reads back as the same value.
  var yaml: String {
    switch self {
    case .bool(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .number(let value): value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
    case .text(let text): Self.quoteIfNeeded(text)
    case .list(let values): "[" + values.map(\.yaml).joined(separator: ", ") + "]"
    case .map(let pairs):
      "{" + pairs.map { "\(Self.quoteIfNeeded($0.key)): \($0.value.yaml)" }.joined(separator: ", ") + "}"
    }
  }

  private static func quoteIfNeeded(_ text: String) -> String {
    let plain = text.unicodeScalars.allSatisfy { scalar in
      scalar.isASCII
        && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || "/._:@+-%".contains("\(scalar)"))
    }
    let reserved = ["", "~", "null", "true", "false"].contains(text.lowercased())
    if plain, !reserved, !text.hasPrefix("-"), !text.hasPrefix(":"), !text.hasPrefix("@"), !text.hasPrefix("%"),
      !text.hasSuffix(":")
    {
      return text
    }
    let escaped = text.unicodeScalars.map { scalar in
      switch scalar {
      case "\"": "\\\""
      case "\\": "\\\\"
      case let control where control.value < 0x20 || control.value == 0x7f:
        "\\x" + (control.value < 16 ? "0" : "") + String(control.value, radix: 16)
      default: String(scalar)
      }
    }
    return "\"" + escaped.joined() + "\""
  }
}

extension Rendered: Encodable {
  private struct Key: CodingKey {
    let stringValue: String
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
    var intValue: Int? { nil }
  }

  func encode(to encoder: any Encoder) throws {
    switch self {
    case .bool(let value):
      var container = encoder.singleValueContainer()
      try container.encode(value)
    case .integer(let value):
      var container = encoder.singleValueContainer()
      try container.encode(value)
    case .number(let value):
      var container = encoder.singleValueContainer()
      try container.encode(value)
    case .text(let value):
      var container = encoder.singleValueContainer()
      try container.encode(value)
    case .list(let values):
      var container = encoder.unkeyedContainer()
      for value in values { try container.encode(value) }
    case .map(let pairs):
      var container = encoder.container(keyedBy: Key.self)
      for (key, value) in pairs { try container.encode(value, forKey: Key(stringValue: key)) }
    }
  }
}
