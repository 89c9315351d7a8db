/// The numbers that instances are named by (`gpu2`), remembered by UUID: a new GPU takes none that another one has or
/// had, so a unit's name always means the same GPU.
///
/// A value; whoever holds it stores it.
package struct GPUNumbering: Sendable, Equatable, Codable {
  private var numbers: [String: Int] = [:]

  package init() {}

  package init(from decoder: any Decoder) throws {
    numbers = try decoder.singleValueContainer().decode([String: Int].self)
    guard numbers.values.allSatisfy({ 0...Self.most ~= $0 }), Set(numbers.values).count == numbers.count else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "two GPUs with one number, or a number out of range"))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(numbers)
  }

  private static let most = 1_000_000

  /// Whether no GPU was met yet.
  package var isEmpty: Bool { numbers.isEmpty }

  /// The number of a GPU that was met before.
  package func number(of uuid: String) -> Int? { numbers[uuid] }

  /// Gives each GPU that is new the lowest free number, in the order given.
  package mutating func add(_ uuids: [String]) {
    let taken = Set(numbers.values)
    var next = 0
    for uuid in uuids where numbers[uuid] == nil {
      while taken.contains(next) { next += 1 }
      numbers[uuid] = next
      next += 1
    }
  }
}
