/// What is to be changed in a request's body so that it obeys a rule.
package struct BodyEdit: Hashable, Sendable {
  /// Bytes that go; empty where something is only added.
  package let range: Range<Int>
  package let replacement: [UInt8]

  /// The changes by which `body` obeys `rule`, first to last; none where it does already, and where it is no JSON
  /// object that Ollama would read: the instance has the last word on that.
  ///
  /// As Go's `encoding/json` reads it: `options` in any case, where several members fill one map and null empties it,
  /// and in the map keys to the letter, of which the last counts.
  package static func edits(_ body: UnsafeRawBufferPointer, for rule: ModelRule) -> [BodyEdit] {
    guard !rule.isEmpty else { return [] }
    var search = OptionsSearch(body, rule)
    return search.run()
  }

  package static func edits(_ body: [UInt8], for rule: ModelRule) -> [BodyEdit] {
    body.withUnsafeBytes { edits($0, for: rule) }
  }

  fileprivate init(_ range: Range<Int>, _ text: String) {
    self.range = range
    replacement = Array(text.utf8)
  }
}

/// Looks in the `options` of a body for what a rule settles.
///
/// Of several members with one name the last counts, and only that one is looked at: whatever stands before it Ollama
/// never reads.
private struct OptionsSearch {
  private let body: UnsafeRawBufferPointer
  private let rule: ModelRule
  /// The value of the last `options` member.
  private var last: Range<Int>?
  private var lastIsEmpty = true
  private var contextLength: Range<Int>?
  private var layers: Range<Int>?
  private var members = 0

  init(_ body: UnsafeRawBufferPointer, _ rule: ModelRule) {
    self.body = body
    self.rule = rule
  }

  mutating func run() -> [BodyEdit] {
    var objects: [Range<Int>] = []
    var count = 0
    var scanner = JSONScanner(body)
    let end = scanner.members { key, value in
      count += 1
      if JSONText.key(body[key], names: "options") { objects.append(value) }
      return count <= RequestFields.mostMembers
    }
    guard case .closed = end else { return [] }
    members = count
    for object in objects {
      guard look(at: object) else { return [] }
    }
    return changes.sorted { $0.range.lowerBound < $1.range.lowerBound }
  }

  /// - Returns: false for what an instance would refuse.
  private mutating func look(at value: Range<Int>) -> Bool {
    last = value
    lastIsEmpty = true
    if isNull(value) {
      (contextLength, layers) = (nil, nil)
      return true
    }
    guard body[value.lowerBound] == UInt8(ascii: "{") else { return false }
    var count = 0
    var (contextLength, layers) = (contextLength, layers)
    var scanner = JSONScanner(UnsafeRawBufferPointer(rebasing: body[value]))
    let end = scanner.members { [members, body] key, number in
      count += 1
      let key = key.lowerBound + value.lowerBound..<key.upperBound + value.lowerBound
      let number = number.lowerBound + value.lowerBound..<number.upperBound + value.lowerBound
      if JSONText.key(body[key], is: "num_ctx") {
        contextLength = number
      } else if JSONText.key(body[key], is: "num_gpu") {
        layers = number
      }
      return members + count <= RequestFields.mostMembers
    }
    guard case .closed = end else { return false }
    members += count
    lastIsEmpty = count == 0
    (self.contextLength, self.layers) = (contextLength, layers)
    return true
  }

  private var changes: [BodyEdit] {
    var changes: [BodyEdit] = []
    if let length = rule.contextLength {
      if let contextLength {
        changes += change(contextLength) { length.granted($0) }
      } else if case .fixed(let length) = length {
        changes += addition(of: length)
      }
    }
    // As many as fit is any negative number, and what goes without saying.
    if rule.placesLayersByRoom, let layers { changes += change(layers) { $0.map { min($0, -1) } } }
    return changes
  }

  /// None for what is no number, which an instance refuses.
  private func change(_ value: Range<Int>, _ grant: (Int?) -> Int?) -> [BodyEdit] {
    let asked = JSONText.integer(body[value])
    guard isNull(value) || asked != nil, let granted = grant(asked), granted != asked else { return [] }
    return [BodyEdit(value, String(granted))]
  }

  private func addition(of length: Int) -> [BodyEdit] {
    let member = "\"num_ctx\":\(length)"
    if let last, !isNull(last) {
      let place = last.lowerBound + 1
      return [BodyEdit(place..<place, lastIsEmpty ? member : member + ",")]
    }
    if let last { return [BodyEdit(last, "{\(member)}")] }
    guard let brace = body.firstIndex(of: UInt8(ascii: "{")) else { return [] }
    return [BodyEdit(brace + 1..<brace + 1, "\"options\":{\(member)}" + (members == 0 ? "" : ","))]
  }

  private func isNull(_ value: Range<Int>) -> Bool { body[value].elementsEqual("null".utf8) }
}
