import Dispatch
import GPUInventory
import PoolCore
import Synchronization

/// The GPUs as they were last read: at most once a second, and only when somebody asks.
///
/// NVML may block for seconds while a GPU fails, so it is read on a thread of its own, and whoever asks gets the last
/// reading if a new one takes too long.
final class InventoryCache: Sendable {
  /// How old a reading may be that is shown.
  private static let lifetime = Duration.seconds(1)
  /// How long an answer waits for a new reading.
  private static let patience = DispatchTimeInterval.milliseconds(500)

  private struct State {
    var source: GPUSource
    var reading: Inventory
    var readAt: ContinuousClock.Instant?
    /// The reading that is under way; left when it is done.
    var underWay: DispatchGroup?

    var isFresh: Bool { readAt.map { .now - $0 < InventoryCache.lifetime } ?? false }
  }

  private let reader: InventoryReader
  private let state: Mutex<State>
  private let readers = DispatchQueue(label: "ollama-pool.inventory.read")
  private let waiters = DispatchQueue(label: "ollama-pool.inventory.wait")

  init(_ reader: InventoryReader) {
    self.reader = reader
    state = Mutex(State(source: .cpu, reading: Inventory(source: .cpu)))
  }

  /// Reads now, however long it takes. What is shown does not change by it.
  func read(_ source: GPUSource) async -> Inventory {
    await withCheckedContinuation { continuation in
      readers.async { [reader] in continuation.resume(returning: reader.read(source)) }
    }
  }

  /// The same; nil where the GPUs don't answer in time.
  func read(_ source: GPUSource, within limit: Duration) async -> Inventory? {
    await withCheckedContinuation { continuation in
      let answer = FirstAnswer(continuation)
      readers.async { [reader] in answer.give(reader.read(source)) }
      waiters.asyncAfter(deadline: .now() + limit.seconds) { answer.give(nil) }
    }
  }

  /// From now on this source is shown, as it was just read.
  func use(_ source: GPUSource, _ reading: Inventory) {
    state.withLock {
      $0.source = source
      $0.reading = reading
      $0.readAt = .now
    }
  }

  /// A reading that is at most a second old, or the last one where the GPUs don't answer in time.
  func latest() async -> Inventory {
    if let fresh = state.withLock({ $0.isFresh ? $0.reading : nil }) { return fresh }
    return await withCheckedContinuation { continuation in
      waiters.async { [self] in
        _ = refresh().wait(timeout: .now() + Self.patience)
        continuation.resume(returning: state.withLock { $0.reading })
      }
    }
  }

  private func refresh() -> DispatchGroup {
    let (group, source): (DispatchGroup, GPUSource?) = state.withLock { state in
      if let underWay = state.underWay { return (underWay, nil) }
      let group = DispatchGroup()
      group.enter()
      if state.isFresh {
        group.leave()
        return (group, nil)
      }
      state.underWay = group
      return (group, state.source)
    }
    guard let source else { return group }
    readers.async { [self] in
      let reading = reader.read(source)
      state.withLock {
        if $0.source == source { $0.reading = reading }
        $0.readAt = .now
        $0.underWay = nil
      }
      group.leave()
    }
    return group
  }
}

/// Of two answers, the one that comes first.
private final class FirstAnswer: Sendable {
  private let continuation: Mutex<CheckedContinuation<Inventory?, Never>?>

  init(_ continuation: CheckedContinuation<Inventory?, Never>) { self.continuation = Mutex(continuation) }

  func give(_ reading: Inventory?) { continuation.withLock { $0.take() }?.resume(returning: reading) }
}
