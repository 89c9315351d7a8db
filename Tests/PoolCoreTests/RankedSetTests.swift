import Synchronization
import Testing

@testable import PoolCore

@Suite struct RankedSetTests {
  /// Against the plainest model there is: a sorted array.
  @Test(arguments: [1, 2, 3, 5, 8] as [UInt64])
  func agreesWithASortedArrayUnderRandomOperations(seed: UInt64) {
    var random = Numbers(seed: seed)
    var set = RankedSet<Int>()
    var model: [Int] = []
    for step in 0..<4_000 {
      // Grows, shrinks to nothing, and grows again.
      let isGrowing = step / 1_000 % 2 == 0
      let element = Int.random(in: 0..<1_000, using: &random)
      let place = model.firstIndex { $0 >= element } ?? model.count
      if Int.random(in: 0..<10, using: &random) < (isGrowing ? 7 : 1) {
        set.insert(element)
        if place == model.count || model[place] != element { model.insert(element, at: place) }
      } else if let present = model.randomElement(using: &random) {
        set.remove(present)
        model.remove(at: model.firstIndex(of: present)!)
      }
      set.remove(-element - 1)
      #expect(set.count == model.count && set.first == model.first && set.isEmpty == model.isEmpty)
      #expect(set.rank(of: element) == model.count { $0 < element })
      if let rank = model.indices.randomElement(using: &random) { #expect(set[rank] == model[rank]) }
    }
    #expect(set.elements == model)
    #expect(set[-1] == nil && set[model.count] == nil)
  }

  @Test(arguments: [1, 20, 400]) func manyAreReplacedAtOnce(count: Int) {
    var random = Numbers(seed: UInt64(count))
    var set = RankedSet<Int>()
    var model = Set((0..<1_000).map { _ in Int.random(in: 0..<100_000, using: &random) })
    for element in model { set.insert(element) }
    for _ in 0..<20 {
      let old = Array(model.shuffled(using: &random).prefix(count))
      let new = (0..<count).map { _ in Int.random(in: 0..<100_000, using: &random) }
      set.replace(old + [-1], with: Array(Set(new)))
      model.subtract(old)
      model.formUnion(new)
      #expect(set.elements == model.sorted())
      // It goes on as a tree does.
      for element in new.prefix(10) {
        set.remove(element)
        model.remove(element)
      }
    }
    #expect(set.elements == model.sorted() && set.rank(of: 50_000) == model.count { $0 < 50_000 })
  }

  /// Counts how often it is compared.
  private struct Counted: Comparable, Sendable {
    let value: Int
    let comparisons: Tally

    static func < (one: Counted, other: Counted) -> Bool {
      one.comparisons.count.add(1, ordering: .relaxed)
      return one.value < other.value
    }
    static func == (one: Counted, other: Counted) -> Bool { one.value == other.value }
  }

  private final class Tally: Sendable {
    let count = Atomic(0)
  }

  @Test(arguments: ["ascending", "descending", "from both ends"])
  func staysShallowWhateverTheOrder(order: String) {
    let comparisons = Tally()
    func element(_ value: Int) -> Counted { Counted(value: value, comparisons: comparisons) }
    var set = RankedSet<Counted>()
    let count = 20_000
    for step in 0..<count {
      switch order {
      case "ascending": set.insert(element(step))
      case "descending": set.insert(element(count - step))
      default: set.insert(element(step.isMultiple(of: 2) ? step : -step))
      }
    }
    // A queue: the first goes, and another comes behind the last.
    for step in 0..<count {
      set.first.map { set.remove($0) }
      set.insert(element(2 * count + step))
    }
    #expect(set.count == count)
    // A node is at most so deep that its weight shrinks by a fourth at each step: log(n + 1) / log(4 / 3).
    for value in stride(from: 2 * count, to: 3 * count, by: 97) {
      comparisons.count.store(0, ordering: .relaxed)
      #expect(set.rank(of: element(value)) == value - 2 * count)
      #expect(comparisons.count.load(ordering: .relaxed) <= 35)
    }
  }
}
