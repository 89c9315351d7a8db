/// A model's name as Ollama reads it: `[host/][namespace/]model[:tag]`, where case distinguishes nothing.
package struct ModelName: Sendable, Hashable, CustomStringConvertible {
  package static let defaultHost = "registry.ollama.ai"
  package static let defaultNamespace = "library"
  package static let defaultTag = "latest"

  package let host: String
  package let namespace: String
  package let model: String
  package let tag: String

  /// Where a name says that the model is computed.
  private enum Source: Substring {
    case here = "local"
    case elsewhere = "cloud"
  }

  /// nil when a part is missing or has a character or a length that Ollama refuses.
  ///
  /// White space around it counts for nothing, and neither does a last `:local`, by which a client says that it does
  /// not mean the cloud.
  package init?(_ text: String) {
    var rest = Self.trimmed(text[...])
    if let colon = rest.lastIndex(of: ":"), Self.source(after: colon, in: rest) == .here { rest = rest[..<colon] }
    if let scheme = rest.firstRange(of: "://") { rest = rest[scheme.upperBound...] }
    var tag = Self.defaultTag[...]
    if let colon = rest.lastIndex(of: ":"), colon > (rest.lastIndex(of: "/") ?? rest.startIndex) {
      tag = rest[rest.index(after: colon)...]
      rest = rest[..<colon]
    }
    let parts = rest.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...3).contains(parts.count) else { return nil }
    let namespace = parts.count > 1 ? parts[parts.count - 2] : Self.defaultNamespace[...]
    let host = parts.count > 2 ? parts[0] : Self.defaultHost[...]
    guard Self.isValid(parts[parts.count - 1], lengths: 1...80, extra: "_-."),
      Self.isValid(tag, lengths: 1...80, extra: "_-."),
      Self.isValid(namespace, lengths: 1...80, extra: "_-"),
      Self.isValid(host, lengths: 1...350, extra: "_-.:")
    else { return nil }
    self.host = String(host)
    self.namespace = String(namespace)
    self.model = String(parts[parts.count - 1])
    self.tag = String(tag)
  }

  private static func isValid(_ part: Substring, lengths: ClosedRange<Int>, extra: String) -> Bool {
    guard lengths.contains(part.utf8.count), let first = part.first, isAlphanumeric(first) || first == "_" else {
      return false
    }
    return part.allSatisfy { isAlphanumeric($0) || extra.contains($0) }
  }

  private static func isAlphanumeric(_ character: Character) -> Bool {
    character.isASCII && (character.isLetter || character.isNumber)
  }

  /// The shortest form that means the same, always with a tag: `m` gives `m:latest`.
  package var description: String {
    var text = ""
    if host.lowercased() != Self.defaultHost {
      text += "\(host)/\(namespace)/"
    } else if namespace.lowercased() != Self.defaultNamespace {
      text += "\(namespace)/"
    }
    return text + "\(model):\(tag)"
  }

  /// The same for all names of one model.
  package var key: String { description.lowercased() }

  /// The key for a name as a client wrote it; what Ollama would refuse stands for itself.
  package static func key(of text: String) -> String { ModelName(text)?.key ?? text.lowercased() }

  /// Whether a name, as a client wrote it, says that the model is computed in Ollama's cloud: `glm-4.6:cloud`,
  /// `gpt-oss:120b-cloud`.
  package static func isComputedElsewhere(_ text: String) -> Bool {
    let name = trimmed(text[...])
    guard let colon = name.lastIndex(of: ":") else { return false }
    if source(after: colon, in: name) == .elsewhere { return true }
    let tag = name[colon...].lowercased()
    return tag.hasSuffix("-cloud") && !tag.contains("/")
  }

  private static func source(after colon: String.Index, in name: Substring) -> Source? {
    Source(rawValue: trimmed(name[name.index(after: colon)...]).lowercased()[...])
  }

  private static func trimmed(_ text: Substring) -> Substring {
    let start = text.drop(while: \.isWhitespace)
    guard let end = start.lastIndex(where: { !$0.isWhitespace }) else { return start }
    return start[...end]
  }

  package static func == (left: ModelName, right: ModelName) -> Bool { left.key == right.key }
  package func hash(into hasher: inout Hasher) { hasher.combine(key) }
}
