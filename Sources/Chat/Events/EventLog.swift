import PoolCore

/// The events of one question, each with its number, so that whoever comes back misses none.
///
/// Of events that tell a place in the queue only the latest counts: it takes the place of the one before it. It is put
/// into words only for those who hear it: thousands wait, and are told another place each second.
struct EventLog {
  /// Numbers of the events that a further life of the dispatcher, or of the question, begins with: no life has so many.
  static let numbersOfALife = 10_000_000
  /// What is kept of one question, in bytes.
  static let limit = 16 << 20

  private struct Entry {
    let number: Int
    /// Where its JSON begins.
    let start: Int
  }

  private let language: ChatLanguage

  private var entries: [Entry] = []
  private var json: [UInt8] = []
  /// The last event, if it tells a place.
  private(set) var place: QueuePlace?
  private var next: Int

  /// - Parameter life: from 0.
  init(life: Int, _ language: ChatLanguage) {
    next = life * Self.numbersOfALife + 1
    self.language = language
  }

  /// The number of the last event; before the first, one less than that will have.
  var last: Int { next - 1 }
  var bytes: Int { json.count }
  var isFull: Bool { json.count > Self.limit }

  mutating func append(_ event: ChatEvent) {
    if case .queue(let place) = event {
      self.place = place
    } else {
      if let place { keep(.queue(place), as: last) }
      place = nil
      keep(event, as: next)
    }
    next += 1
  }

  private mutating func keep(_ event: ChatEvent, as number: Int) {
    entries.append(Entry(number: number, start: json.count))
    json += event.encoded(language)
  }

  /// Calls `body` with the number and the JSON of each event after the one of this number, the oldest first, until it
  /// returns false.
  func forEach(after number: Int, _ body: (Int, ArraySlice<UInt8>) -> Bool) {
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].number <= number { low = middle + 1 } else { high = middle }
    }
    for index in low..<entries.count {
      let end = index + 1 < entries.count ? entries[index + 1].start : json.count
      guard body(entries[index].number, json[entries[index].start..<end]) else { return }
    }
    if let place, number < last { _ = body(last, ChatEvent.queue(place).encoded(language)[...]) }
  }
}
