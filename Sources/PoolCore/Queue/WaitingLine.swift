/// The order of arrival: who waits, who is first, and who comes how many after, each in O(log n).
///
/// A place belongs to a request from its arrival to its end. While the request is being served the place stands
/// empty, so a request that is put back stands where it stood: before all that came after it. The places are a
/// Fenwick tree over the order of arrival (Fenwick, "A new data structure for cumulative frequency tables", 1994);
/// when more than half of the places belong to nobody any more, the tree is built anew, which costs O(1) amortised.
package struct WaitingLine: Sendable {
  /// Who owns each place, in the order of arrival; nil once its request has ended.
  private var owners: [RequestID?] = []
  /// Whether the owner of a place waits now.
  private var waits: [Bool] = []
  /// Fenwick tree over `waits`; `tree[0]` is not used.
  private var tree: [Int32] = [0]
  private var places: [RequestID: Int] = [:]

  /// How many wait.
  package private(set) var count = 0

  package init() {}

  package var isEmpty: Bool { count == 0 }

  /// Gives `request` the last place and lets it wait there.
  ///
  /// - Precondition: `request` has no place yet.
  package mutating func append(_ request: RequestID) {
    precondition(places[request] == nil, "request \(request) has a place already")
    rebuildIfSparse()
    let place = owners.count
    owners.append(request)
    waits.append(false)
    // The new node of the tree covers (i - lowbit(i), i]; its sum is the prefix up to i - 1 less what lies before.
    let node = place + 1
    tree.append(Int32(prefix(place) - prefix(node - (node & -node))))
    places[request] = place
    set(place, true)
  }

  /// Takes `request` out of the waiting, keeping its place. Does nothing if it does not wait.
  package mutating func callUp(_ request: RequestID) {
    if let place = places[request] { set(place, false) }
  }

  /// Lets `request` wait again where it stood. Does nothing if it has no place.
  package mutating func putBack(_ request: RequestID) {
    if let place = places[request] { set(place, true) }
  }

  /// Gives up the place of `request` for good.
  package mutating func remove(_ request: RequestID) {
    guard let place = places.removeValue(forKey: request) else { return }
    set(place, false)
    owners[place] = nil
  }

  package func isWaiting(_ request: RequestID) -> Bool { places[request].map { waits[$0] } ?? false }

  /// The one that waits with `rank` others before it.
  ///
  /// - Parameter rank: from 0.
  package subscript(rank: Int) -> RequestID? {
    guard rank >= 0, rank < count else { return nil }
    var remaining = Int32(rank + 1)
    var position = 0
    var step = 1 << (Int.bitWidth - 1 - max(owners.count, 1).leadingZeroBitCount)
    while step > 0 {
      let next = position + step
      if next < tree.count, tree[next] < remaining {
        position = next
        remaining -= tree[next]
      }
      step >>= 1
    }
    return owners[position]
  }

  package var first: RequestID? { self[0] }

  /// All that wait, in their order. O(n log n).
  package var waiting: [RequestID] { (0..<count).compactMap { self[$0] } }

  private mutating func set(_ place: Int, _ value: Bool) {
    guard waits[place] != value else { return }
    waits[place] = value
    let change: Int32 = value ? 1 : -1
    count += Int(change)
    var node = place + 1
    while node < tree.count {
      tree[node] += change
      node += node & -node
    }
  }

  /// How many wait in the first `length` places.
  private func prefix(_ length: Int) -> Int {
    var sum: Int32 = 0
    var node = length
    while node > 0 {
      sum += tree[node]
      node -= node & -node
    }
    return Int(sum)
  }

  private mutating func rebuildIfSparse() {
    guard owners.count >= 64, places.count * 2 < owners.count else { return }
    let kept = owners.indices.filter { owners[$0] != nil }
    owners = kept.map { owners[$0] }
    waits = kept.map { waits[$0] }
    places.removeAll(keepingCapacity: true)
    tree = [Int32](repeating: 0, count: owners.count + 1)
    for (place, owner) in owners.enumerated() {
      places[owner!] = place
      let node = place + 1
      tree[node] += waits[place] ? 1 : 0
      let parent = node + (node & -node)
      if parent < tree.count { tree[parent] += tree[node] }
    }
  }
}
