/// Which models' requests want the same instances, and so stand in each other's way: those that some instance serves
/// both of, and so on from one to the next. An instance that serves any model makes it one pool.
struct Pools: Equatable, Sendable {
  /// Of each by its number; none where an instance serves any, or there is no instance.
  private var models: [Set<String>] = []
  /// nil where all is one.
  private var numbers: [String: Int]?

  init() {}

  /// - Parameter served: the only models of each instance; empty for any.
  init(_ served: [[String]]) {
    guard !served.isEmpty, !served.contains(where: \.isEmpty) else { return }
    var pools: [Set<String>] = []
    for models in served.map(Set.init) {
      let joined = pools.filter { !$0.isDisjoint(with: models) }
      pools.removeAll { !$0.isDisjoint(with: models) }
      pools.append(joined.reduce(models) { $0.union($1) })
    }
    // The same numbers in whatever order the instances come.
    models = pools.sorted { ($0.min() ?? "") < ($1.min() ?? "") }
    guard models.count > 1 else { return }
    numbers = [:]
    for (number, models) in models.enumerated() { for model in models { numbers?[model] = number } }
  }

  /// Whether they divide requests in the same way.
  static func == (one: Pools, other: Pools) -> Bool { one.numbers == other.numbers }

  /// The numbers that those of earlier pools have now which are there still, with the same models.
  func numbers(ofThoseIn earlier: Pools) -> [Int: Int] {
    let kept = models.enumerated().compactMap { number, models in
      earlier.models.firstIndex(of: models).map { ($0, number) }
    }
    return Dictionary(kept) { first, _ in first }
  }

  /// Models that no instance serves yet are one pool. What names no model may go anywhere, and counts as of the first.
  func number(of model: String?) -> Int {
    guard let numbers else { return 0 }
    guard let model else { return 0 }
    return numbers[model] ?? -1
  }
}
