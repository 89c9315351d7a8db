import Yams

/// How one kind of value is read, checked and written.
struct ValueFormat<Value: Sendable>: Sendable {
  /// What a message says was expected.
  let expected: String
  /// `nil` after reporting a problem.
  let read: @Sendable (_ node: Node, _ key: String, _ reading: inout Reading) -> Value?
  let render: @Sendable (Value) -> Rendered

  /// A scalar's text. `plainOnly`: text in quotes is something else, as with `"1"` for a number.
  static func scalar(
    _ expected: String, plainOnly: Bool = false, render: @escaping @Sendable (Value) -> Rendered,
    parse: @escaping @Sendable (String) -> Value?
  ) -> ValueFormat {
    ValueFormat(
      expected: expected,
      read: { node, key, reading in
        guard case .scalar(let scalar) = node, !node.isNothing, !plainOnly || scalar.style == .plain,
          let value = parse(scalar.string)
        else {
          reading.reportValue(key, node, expected: expected)
          return nil
        }
        return value
      },
      render: render)
  }

  /// This format or `word`, which stands for `nil`.
  func orNone(_ word: String) -> ValueFormat<Value?> {
    let expected = "\(word) or \(expected)"
    return ValueFormat<Value?>(
      expected: expected,
      read: { node, key, reading in
        if case .scalar(let scalar) = node, scalar.string == word { return .some(nil) }
        // Only the whole knows that `word` would have been right, too.
        guard case .scalar = node else {
          reading.reportValue(key, node, expected: expected)
          return nil
        }
        var attempt = Reading()
        guard let value = self.read(node, key, &attempt) else {
          reading.reportValue(key, node, expected: expected)
          return nil
        }
        return .some(value)
      },
      render: { $0.map(self.render) ?? .text(word) })
  }

  /// A list of at least `least` and at most `most` of these.
  func list(_ plural: String, least: Int = 0, most: Int) -> ValueFormat<[Value]> {
    let expected = "a list of \(least == 0 ? "at most \(most)" : "\(least) to \(most)") \(plural)"
    return ValueFormat<[Value]>(
      expected: expected,
      read: { node, key, reading in
        guard case .sequence(let sequence) = node else {
          reading.reportValue(key, node, expected: expected)
          return nil
        }
        guard least...most ~= sequence.count else {
          reading.report(key, at: node, "has \(sequence.count) entries", expected: expected)
          return nil
        }
        var values: [Value] = []
        for (index, entry) in sequence.enumerated() {
          let entryKey = "\(key)[\(index)]"
          reading.found(entryKey, at: entry)
          if let value = self.read(entry, entryKey, &reading) { values.append(value) }
        }
        return values.count == sequence.count ? values : nil
      },
      render: { .list($0.map(self.render)) })
  }
}
