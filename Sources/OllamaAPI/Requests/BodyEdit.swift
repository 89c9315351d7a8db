/// What is to be changed in a request's body so that it obeys a rule.
package struct BodyEdit: Hashable, Sendable {
  /// Bytes that go; empty where something is only added.
  package let range: Range<Int>
  package let replacement: [UInt8]

  /// The changes by which `body` obeys `rule`, first to last; none where it does already, and where it is no JSON object
  /// that Ollama would read: the instance has the last word on that.
  ///
  /// As Go's `encoding/json` reads it: `options` in any case, where several members fill one map and null empties it, and
  /// in the map keys to the letter, of which the last counts.
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
private struct OptionsSearch {
  private let body: UnsafeRawBufferPointer
  private let rule: ModelRule
  private var found: [BodyEdit] = []
  /// The value of the last `options` member.
  private var last: Range<Int>?
  /// Whether that names a length.
  private var lastNamesLength = false
  private var lastIsEmpty = true
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
    if case .fixed(let length) = rule.contextLength, !lastNamesLength { add(length) }
    return found.sorted { $0.range.lowerBound < $1.range.lowerBound }
  }

  /// - Returns: false for what an instance would refuse.
  private mutating func look(at value: Range<Int>) -> Bool {
    last = value
    lastNamesLength = false
    lastIsEmpty = true
    if body[value].elementsEqual("null".utf8) { return true }
    guard body[value.lowerBound] == UInt8(ascii: "{") else { return false }
    var lengths: [Range<Int>] = []
    var layers: [Range<Int>] = []
    var count = 0
    var scanner = JSONScanner(UnsafeRawBufferPointer(rebasing: body[value]))
    let end = scanner.members { [members, body] key, number in
      count += 1
      let key = key.lowerBound + value.lowerBound..<key.upperBound + value.lowerBound
      let number = number.lowerBound + value.lowerBound..<number.upperBound + value.lowerBound
      if JSONText.key(body[key], is: "num_ctx") {
        lengths.append(number)
      } else if JSONText.key(body[key], is: "num_gpu") {
        layers.append(number)
      }
      return members + count <= RequestFields.mostMembers
    }
    guard case .closed = end else { return false }
    members += count
    lastIsEmpty = count == 0
    lastNamesLength = !lengths.isEmpty
    if let length = rule.contextLength {
      guard lengths.allSatisfy({ change($0) { length.granted($0) } }) else { return false }
    }
    // As many as fit is any negative number, and what goes without saying.
    return !rule.placesLayersByRoom || layers.allSatisfy { change($0) { $0.map { min($0, -1) } } }
  }

  /// - Returns: false for what is no number.
  private mutating func change(_ value: Range<Int>, _ grant: (Int?) -> Int?) -> Bool {
    let isNull = body[value].elementsEqual("null".utf8)
    let asked = JSONText.integer(body[value])
    guard isNull || asked != nil else { return false }
    if let granted = grant(asked), granted != asked { found.append(BodyEdit(value, String(granted))) }
    return true
  }

  private mutating func add(_ length: Int) {
    let member = "\"num_ctx\":\(length)"
    if let last, body[last.lowerBound] == UInt8(ascii: "{") {
      let place = last.lowerBound + 1
      found.append(BodyEdit(place..<place, lastIsEmpty ? member : member + ","))
    } else if let last {
      found.append(BodyEdit(last, "{\(member)}"))
    } else if let brace = body.firstIndex(of: UInt8(ascii: "{")) {
      found.append(BodyEdit(brace + 1..<brace + 1, "\"options\":{\(member)}" + (members == 0 ? "" : ",")))
    }
  }
}
