import PoolCore
import Systemd

/// Tells the journal what happened: each kind of trouble at once when it begins, and from then on what came meanwhile
/// in one entry every ten seconds, so that a storm of failures is a few lines.
struct DispatcherJournal {
  static let window: Duration = .seconds(10)
  /// Kinds of trouble at once; beyond, everything is told at once. There are a few for each instance.
  static let maximumWindows = 4096

  private struct Window {
    var began: Instant
    /// What came since without being told.
    var untold = 0
    var last: JournalEntry
  }

  private let journal: Journal
  private var windows: [String: Window] = [:]

  init(_ journal: Journal) { self.journal = journal }

  mutating func tell(_ event: DispatcherEvent, at now: Instant) {
    guard let key = event.repetition else { return journal.send(event.entry) }
    if windows[key] != nil {
      windows[key]?.untold += 1
      windows[key]?.last = event.entry
    } else {
      let entry = event.entry
      journal.send(entry)
      if windows.count < Self.maximumWindows { windows[key] = Window(began: now, last: entry) }
    }
  }

  /// Time has passed: windows end.
  mutating func tick(at now: Instant) {
    for (key, window) in windows where now - window.began >= Self.window {
      if window.untold == 0 {
        windows[key] = nil
      } else {
        tell(window)
        windows[key] = Window(began: now, last: window.last)
      }
    }
  }

  /// Tells at once what is untold: on the way out.
  mutating func finish() {
    for window in windows.values where window.untold > 0 { tell(window) }
    windows = [:]
  }

  private func tell(_ window: Window) {
    var entry = window.last
    if window.untold > 1 { entry.message += " (and \(window.untold - 1) more like it in the last 10 s)" }
    journal.send(entry)
  }
}
