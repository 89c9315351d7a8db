import HeapModule
package import PoolCore

/// What happens when, in virtual time; of two events at one time the one that was scheduled first.
package struct EventQueue<Event: Sendable>: Sendable {
  private struct Entry: Comparable, Sendable {
    var at: Instant
    var number: UInt64
    var event: Event

    static func < (lhs: Entry, rhs: Entry) -> Bool { (lhs.at, lhs.number) < (rhs.at, rhs.number) }
    static func == (lhs: Entry, rhs: Entry) -> Bool { lhs.at == rhs.at && lhs.number == rhs.number }
  }

  private var heap = Heap<Entry>()
  private var scheduled: UInt64 = 0

  package init() {}

  package mutating func schedule(_ event: Event, at time: Instant) {
    heap.insert(Entry(at: time, number: scheduled, event: event))
    scheduled += 1
  }

  package mutating func next() -> (at: Instant, event: Event)? { heap.popMin().map { ($0.at, $0.event) } }

  package var nextTime: Instant? { heap.min?.at }
}
