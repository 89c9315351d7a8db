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
  /// What was told to have failed last, of each.
  private var troubled: [InstanceID: Trouble] = [:]

  private struct Trouble: Equatable {
    var invocation: InvocationID
    var open: Bool
  }

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
  mutating func failed(_ order: Order, for id: InstanceID) -> Bool {
    let trouble = Trouble(invocation: order.invocation, open: order.open)
    return troubled.updateValue(trouble, forKey: id) != trouble
  }

  mutating func succeeded(_ id: InstanceID) { troubled[id] = nil }
}
