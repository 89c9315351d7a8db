/// Which models' requests want the same instances, and so stand in each other's way: those that some instance serves
/// both of, and so on from one to the next. An instance that serves any model makes it one pool.
struct Pools: Hashable, Sendable {
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
    guard pools.count > 1 else { return }
    // The same numbers in whatever order the instances come.
    let ordered = pools.map { $0.sorted() }.sorted { $0[0] < $1[0] }
    numbers = [:]
    for (number, models) in ordered.enumerated() { for model in models { numbers?[model] = number } }
  }

  /// Models that no instance serves yet are one pool. What names no model may go anywhere, and counts as of the first.
  func number(of model: String?) -> Int {
    guard let numbers else { return 0 }
    guard let model else { return 0 }
    return numbers[model] ?? -1
  }
}
