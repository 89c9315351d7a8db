/// Entries that wait to be written, bounded in number and bytes: the oldest give way, and are counted.
struct JournalBacklog {
  struct Item: Equatable {
    let entry: JournalEntry
    let time: String
  }

  private let limit: Int
  private let byteLimit: Int
  private var items: [Item] = []
  /// Where the oldest stands in `items`; what is before it is done with.
  private var first = 0
  private var bytes = 0
  private(set) var dropped = 0

  init(limit: Int, byteLimit: Int) {
    self.limit = limit
    self.byteLimit = byteLimit
  }

  var isEmpty: Bool { first == items.count }

  mutating func append(_ item: Item) {
    items.append(item)
    bytes += item.entry.size
    // The newest stays whatever its size: its values are cut when it is written.
    while items.count - first > 1, items.count - first > limit || bytes > byteLimit {
      _ = removeFirst()
      dropped += 1
    }
  }

  mutating func removeFirst() -> Item? {
    guard !isEmpty else { return nil }
    let item = items[first]
    first += 1
    bytes -= item.entry.size
    if first >= 64 && first * 2 >= items.count {
      items.removeFirst(first)
      first = 0
    }
    return item
  }

  /// How many were dropped since the last time that this was asked.
  mutating func takeDropped() -> Int {
    defer { dropped = 0 }
    return dropped
  }
}
