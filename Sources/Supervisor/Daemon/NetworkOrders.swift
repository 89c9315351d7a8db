import PoolCore

/// Orders about instances' ways out to the network: of each instance one at a time, and of those that wait the last.
struct NetworkOrders {
  struct Order: Sendable {
    var invocation: InvocationID
    var open: Bool
    /// The hold of the link to the dispatcher that waits for it.
    var hold: Int?
  }

  private var waiting: [InstanceID: Order] = [:]
  private var underWay: Set<InstanceID> = []
  /// Those whose last order failed, which was told.
  private var troubled: Set<InstanceID> = []

  /// - Returns: whether nothing is under way for it, so that somebody has to begin; and the hold of the order that this
  ///   one takes the place of.
  mutating func add(_ order: Order, for id: InstanceID) -> (isFirst: Bool, superseded: Int?) {
    let superseded = waiting.updateValue(order, forKey: id)?.hold
    return (underWay.insert(id).inserted, superseded)
  }

  /// - Returns: nil where nothing is left to do.
  mutating func next(for id: InstanceID) -> Order? {
    if let order = waiting.removeValue(forKey: id) { return order }
    underWay.remove(id)
    return nil
  }

  /// - Returns: whether that is news.
  mutating func failed(_ id: InstanceID) -> Bool { troubled.insert(id).inserted }

  mutating func succeeded(_ id: InstanceID) { troubled.remove(id) }
}
