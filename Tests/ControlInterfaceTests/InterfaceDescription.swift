import Testing

/// A Varlink interface's description, read into its parts.
struct InterfaceDescription {
  indirect enum Kind: Equatable {
    /// `string`, `int`, `float`, `bool`, or the name of a type.
    case named(String)
    case words([String])
    case optional(Kind)
    case array(Kind)
  }

  struct Field {
    let name: String
    let kind: Kind
    var isOptional: Bool { if case .optional = kind { true } else { false } }
  }

  private(set) var name = ""
  private(set) var types: [String: [Field]] = [:]
  private(set) var methods: [String: (parameters: [Field], reply: [Field])] = [:]
  private(set) var errors: [String: [Field]] = [:]
  private var tokens: ArraySlice<Substring>

  init(_ text: String) throws {
    let code = text.split(separator: "\n").map { $0.prefix { $0 != "#" } }.joined(separator: "\n")
    tokens = code.matches(of: /[A-Za-z0-9_.]+|\[\]|->|[():,?]/).map { $0.output }[...]
    while let keyword = tokens.popFirst() {
      let named = String(try next())
      switch keyword {
      case "interface": name = named
      case "type": types[named] = try fields()
      case "error": errors[named] = try fields()
      case "method":
        let parameters = try fields()
        try skip("->")
        methods[named] = (parameters, try fields())
      default: Issue.record("\(keyword) begins no member")
      }
    }
  }

  private mutating func fields() throws -> [Field] {
    try skip("(")
    var fields: [Field] = []
    while tokens.first != ")" {
      if !fields.isEmpty { try skip(",") }
      let name = String(try next())
      try skip(":")
      fields.append(Field(name: name, kind: try kind()))
    }
    try skip(")")
    return fields
  }

  private mutating func kind() throws -> Kind {
    let token = try next()
    switch token {
    case "?": return .optional(try kind())
    case "[]": return .array(try kind())
    case "(":
      var words: [String] = []
      while tokens.first != ")" {
        if !words.isEmpty { try skip(",") }
        words.append(String(try next()))
      }
      try skip(")")
      return .words(words)
    default: return .named(String(token))
    }
  }

  private mutating func next() throws -> Substring {
    let token = tokens.popFirst()
    return try #require(token)
  }

  private mutating func skip(_ expected: Substring) throws {
    let token = try next()
    try #require(token == expected)
  }

  // MARK: Examples

  /// An object with all of `fields`, as JSONSerialization takes it.
  func example(of fields: [Field]) throws -> [String: Any] {
    try Dictionary(uniqueKeysWithValues: fields.map { ($0.name, try example(of: $0.kind)) })
  }

  private func example(of kind: Kind) throws -> Any {
    switch kind {
    case .named("string"): "text"
    case .named("int"): 7
    case .named("float"): 1.5
    case .named("bool"): true
    case .named(let type): try example(of: try #require(types[type], "no type \(type)"))
    case .words(let words): try #require(words.first)
    case .optional(let kind): try example(of: kind)
    case .array(let kind): [try example(of: kind)]
    }
  }
}
