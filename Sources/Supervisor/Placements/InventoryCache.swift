import Dispatch
import GPUInventory
import PoolCore
import Synchronization

/// The GPUs as they were last read. Who shows them has a reading that is at most a second old; who decides by them has
/// a new one made.
///
/// NVML may block for seconds while a GPU fails, and for good where its driver hangs. So it is read on a thread of its
/// own, one reading at a time, and whoever asks waits for a limited time.
final class InventoryCache: Sendable {
  /// How old a reading may be that is shown.
  private static let lifetime = Duration.seconds(1)
  /// How long answers wait for a reading, from its begin. Once it takes longer, they do without it.
  private static let patience = Duration.milliseconds(500)

  private typealias Waiter = CheckedContinuation<Inventory?, Never>

  private struct Reading {
    var number: Int
    var source: GPUSource
    /// By numbers of their own.
    var readers: [Int: Waiter] = [:]
    /// Answers that show it; nil once they do without.
    var answers: [Waiter]? = []
  }

  private struct State {
    var source = GPUSource.cpu
    var shown = Inventory(source: .cpu)
    var readAt: ContinuousClock.Instant?
    var underWay: Reading?
    /// Who wants a reading that begins after the one that is under way.
    var next: [(number: Int, source: GPUSource, waiter: Waiter)] = []
    var lastNumber = 0

    var isFresh: Bool { readAt.map { .now - $0 < InventoryCache.lifetime } ?? false }

    mutating func newNumber() -> Int {
      lastNumber += 1
      return lastNumber
    }

    /// - Returns: the reading to begin, if it is time for one.
    mutating func beginNext() -> Reading? {
      guard underWay == nil, let first = next.first else { return nil }
      var reading = Reading(number: newNumber(), source: first.source)
      for request in next where request.source == first.source { reading.readers[request.number] = request.waiter }
      next.removeAll { $0.source == first.source }
      underWay = reading
      return reading
    }

    /// Takes back the wish for a reading.
    mutating func giveUp(_ number: Int) -> Waiter? {
      if let index = next.firstIndex(where: { $0.number == number }) { return next.remove(at: index).waiter }
      return underWay?.readers.removeValue(forKey: number)
    }
  }

  private let reader: InventoryReader
  private let state = Mutex(State())
  private let thread = DispatchQueue(label: "ollama-pool.inventory.read")
  private let timers = DispatchQueue(label: "ollama-pool.inventory.timers")

  init(_ reader: InventoryReader) { self.reader = reader }

  /// Reads now; nil where the GPUs don't answer in time.
  func read(_ source: GPUSource, within limit: Duration) async -> Inventory? {
    if !source.asksDriver { return reader.read(source) }
    return await withCheckedContinuation { waiter in
      let (number, reading) = state.withLock { state in
        let number = state.newNumber()
        state.next.append((number, source, waiter))
        return (number, state.beginNext())
      }
      begin(reading)
      timers.asyncAfter(deadline: .now() + limit.seconds) { [self] in
        state.withLock { $0.giveUp(number) }?.resume(returning: nil)
      }
    }
  }

  /// From now on this source is shown, as it was just read.
  func use(_ source: GPUSource, _ reading: Inventory) {
    state.withLock {
      $0.source = source
      $0.shown = reading
      $0.readAt = .now
    }
  }

  /// A reading that is at most a second old, or the last one where the GPUs don't answer in time.
  func latest() async -> Inventory {
    let reading = await withCheckedContinuation { (waiter: Waiter) in
      let (mayWait, reading): (Bool, Reading?) = state.withLock { state in
        if state.isFresh { return (false, nil) }
        if state.underWay != nil {
          state.underWay?.answers?.append(waiter)
          return (state.underWay?.answers != nil, nil)
        }
        let reading = Reading(number: state.newNumber(), source: state.source, answers: [waiter])
        state.underWay = reading
        return (true, reading)
      }
      if !mayWait { waiter.resume(returning: nil) }
      begin(reading)
    }
    return reading ?? state.withLock { $0.shown }
  }

  private func begin(_ reading: Reading?) {
    guard let reading else { return }
    thread.async { [self] in ended(reader.read(reading.source)) }
    timers.asyncAfter(deadline: .now() + Self.patience.seconds) { [self] in
      let impatient = state.withLock { state in
        state.underWay?.number == reading.number ? state.underWay?.answers.take() : nil
      }
      for waiter in impatient ?? [] { waiter.resume(returning: nil) }
    }
  }

  private func ended(_ found: Inventory) {
    let (ended, next) = state.withLock { state in
      let ended = state.underWay.take()
      if ended?.source == state.source {
        state.shown = found
        state.readAt = .now
      }
      return (ended, state.beginNext())
    }
    for waiter in (ended?.readers.values).map(Array.init) ?? [] { waiter.resume(returning: found) }
    for waiter in ended?.answers ?? [] { waiter.resume(returning: nil) }
    begin(next)
  }
}
