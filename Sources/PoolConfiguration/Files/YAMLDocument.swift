import Yams

/// One file's YAML as a tree: a single document, without anchors and aliases, and of bounded depth.
///
/// The parser refuses more than 1,000 levels. Aliases would let a short file stand for one of any size; they are
/// counted before parsing, because the parser itself hashes what they stand for when they are keys.
enum YAMLDocument {
  private static let aliasesParsed = 32
  private static let duplicatesReported = ConfigurationError.problemsPerFile

  /// The key that takes the place of a duplicate which was already reported, so that the rest can be read.
  static func isReportedDuplicate(_ key: String) -> Bool {
    key.unicodeScalars.first.map(placeholders.contains) ?? false
  }
  private static let placeholders: ClosedRange<Unicode.Scalar> = "\u{E000}"..."\u{EFFF}"

  /// `nil` for a document without content, and where a problem was reported that leaves no tree.
  static func compose(_ text: String, into reading: inout Reading) -> Node? {
    guard aliasCount(text) <= aliasesParsed else {
      reading.report(
        ConfigurationProblem(
          at: ConfigurationPosition(file: reading.file), key: "YAML", "has more than \(aliasesParsed) aliases",
          expected: "values written out"))
      return nil
    }
    var text = text
    for attempt in 0...duplicatesReported {
      do throws(YamlError) {
        return try parse(text, into: &reading)
      } catch {
        guard case .duplicatedKeysInMapping(let keys, let context) = error, let key = keys.first else {
          reading.report(syntaxProblem(error, file: reading.file))
          return nil
        }
        let second = secondPlace(of: key, after: context.mark, in: text)
        reading.report(
          ConfigurationProblem(
            at: ConfigurationPosition(
              file: reading.file, line: second?.line ?? context.mark.line,
              column: second?.column ?? context.mark.column),
            key: Reading.quote(key), "is given twice, first in line \(context.mark.line)",
            expected: "each key once"))
        guard let second, let placeholder = Unicode.Scalar(placeholders.lowerBound.value + UInt32(attempt)) else {
          return nil
        }
        text.replaceSubrange(second.range, with: String(repeating: Character(placeholder), count: key.count))
      }
    }
    return nil
  }

  private static func parse(_ text: String, into reading: inout Reading) throws(YamlError) -> Node? {
    do {
      let parser = try Parser(yaml: text, encoding: .utf8)
      let root = try parser.singleRoot()
      // Nodes hold their anchors weakly: the parser must live until the walk has ended.
      return withExtendedLifetime(parser) {
        guard let root, !root.isNothing else { return nil }
        return reportAnchors(in: root, &reading) ? nil : root
      }
    } catch let error as YamlError {
      throw error
    } catch {
      throw .reader(problem: "\(error)", offset: nil, value: 0, yaml: "")
    }
  }

  /// Never walks below an anchor, which is what an alias's copy shows too; so it visits no more than the file holds.
  private static func reportAnchors(in node: Node, _ reading: inout Reading) -> Bool {
    if let anchor = node.anchor {
      reading.report(
        "YAML", at: node, "uses the anchor &\(Reading.quote(anchor.rawValue))", expected: "values written out")
      return true
    }
    switch node {
    case .scalar, .alias: return false
    case .sequence(let sequence):
      return sequence.contains { reportAnchors(in: $0, &reading) }
    case .mapping(let mapping):
      return mapping.contains { reportAnchors(in: $0.key, &reading) || reportAnchors(in: $0.value, &reading) }
    }
  }

  /// At least as many as there are: text in quotes may look like one. None begins behind a letter or digit, or behind a
  /// slash as in `https://*.example.org`.
  private static func aliasCount(_ text: String) -> Int {
    var count = 0
    var previous: Unicode.Scalar = "\n"
    for scalar in text.unicodeScalars {
      if scalar == "*", previous != "/", !(previous.properties.isAlphabetic || previous.properties.numericType != nil) {
        count += 1
      }
      if count > aliasesParsed { break }
      previous = scalar
    }
    return count
  }

  /// Where `key` begins a second time in the block mapping whose first mention of it is at `first`; `nil` in `{…}`.
  private static func secondPlace(
    of key: String, after first: Mark, in text: String
  ) -> (line: Int, column: Int, range: Range<String.Index>)? {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard first.line <= lines.count else { return nil }
    for (index, line) in lines.enumerated().dropFirst(first.line) {
      let indent = line.prefix { $0 == " " }.count
      let content = line.dropFirst(indent)
      if content.isEmpty || content.hasPrefix("#") { continue }
      guard indent + 1 >= first.column else { return nil }
      guard indent + 1 == first.column else { continue }
      let unquoted = content.first == "\"" || content.first == "'" ? content.dropFirst() : content
      let rest = unquoted.dropFirst(key.count).drop { $0 == "\"" || $0 == "'" || $0 == " " }
      if unquoted.hasPrefix(key), rest.first == ":" {
        let end = line.index(unquoted.startIndex, offsetBy: key.count)
        return (index + 1, first.column, unquoted.startIndex..<end)
      }
    }
    return nil
  }

  private static func syntaxProblem(_ error: YamlError, file: String) -> ConfigurationProblem {
    switch error {
    case .scanner(let context, let problem, let mark, let yaml), .parser(let context, let problem, let mark, let yaml),
      .composer(let context, let problem, let mark, let yaml):
      let lines = yaml.split(separator: "\n", omittingEmptySubsequences: false)
      let tab = mark.line <= lines.count && lines[mark.line - 1].drop { $0 == " " }.first == "\t"
      return ConfigurationProblem(
        at: ConfigurationPosition(file: file, line: mark.line, column: mark.column), key: "YAML",
        problem.isEmpty ? "is malformed" : problem,
        expected: tab
          ? "spaces, not tabs, before a key"
          : context?.text == "while scanning an alias" ? "quotes around a text that begins with *" : "valid YAML")
    case .reader(let problem, let offset, _, let yaml):
      let before = yaml.prefix(offset ?? 0)
      let line = before.count { $0.isNewline } + 1
      let column = before.reversed().prefix { !$0.isNewline }.count + 1
      return ConfigurationProblem(
        at: ConfigurationPosition(file: file, line: offset == nil ? 0 : line, column: column), key: "YAML", problem,
        expected: "printable UTF-8")
    default:
      return ConfigurationProblem(
        at: ConfigurationPosition(file: file), key: "YAML", "\(error)", expected: "valid YAML")
    }
  }
}
