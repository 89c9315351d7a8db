/// CPUs by number, in order.
package struct CPUSet: Sendable, Hashable, CustomStringConvertible {
  /// No Linux has more (CONFIG_NR_CPUS): bounds what a list can make grow.
  package static let most = 8192

  /// Ascending, each once.
  package let numbers: [Int]

  /// Numbers that no CPU can have are left out.
  package init(_ numbers: some Sequence<Int>) {
    self.numbers = Set(numbers.lazy.filter { 0..<Self.most ~= $0 }).sorted()
  }

  /// As sysfs lists CPUs: `0-3,8-11`. `nil` where it lists none, or nonsense.
  package init?(list: some StringProtocol) {
    var numbers: Set<Int> = []
    for part in list.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Self.number($0) }
      guard 1...2 ~= ends.count, let first = ends[0], let last = ends[ends.count - 1], first <= last else { return nil }
      numbers.formUnion(first...last)
    }
    self.init(numbers)
  }

  private static func number(_ text: some StringProtocol) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
    return Int(text).flatMap { $0 < most ? $0 : nil }
  }

  package var isEmpty: Bool { numbers.isEmpty }

  package func union(_ other: CPUSet) -> CPUSet { CPUSet(numbers + other.numbers) }

  /// As it is read: `0-3,8-11`.
  package var description: String {
    var ranges: [ClosedRange<Int>] = []
    for number in numbers {
      if let last = ranges.last, last.upperBound + 1 == number {
        ranges[ranges.count - 1] = last.lowerBound...number
      } else {
        ranges.append(number...number)
      }
    }
    return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ",")
  }
}
