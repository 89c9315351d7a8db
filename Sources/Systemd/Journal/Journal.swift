import CSystemd
import Dispatch
import Glibc
import Synchronization

/// Where a daemon's events go: the journal, or lines of text on standard error where that is no journal.
///
/// ``send(_:)`` only puts an entry into a list; a queue of its own writes it, so a journal that is stopped or slow
/// holds up nobody. At most 4,096 entries or 4 MiB wait; then the oldest are dropped, and an entry says how many.
package final class Journal: Sendable {
  package enum Destination: Equatable, Sendable {
    case journal
    /// Lines on a descriptor: `time priority identifier: message`.
    case text(descriptor: Int32)

    /// The journal if standard error is connected to it, as systemd does for services; else standard error itself.
    package static var automatic: Destination {
      let stream = getenv("JOURNAL_STREAM").map { String(cString: $0) }
      return isJournal(STDERR_FILENO, stream: stream) && access("/run/systemd/journal/socket", W_OK) == 0
        ? .journal : .text(descriptor: STDERR_FILENO)
    }

    /// Whether `stream`, "device:inode" as in $JOURNAL_STREAM, names the file that is open at `descriptor`.
    /// The variable alone proves nothing: it is inherited by a shell that redirects its children elsewhere.
    static func isJournal(_ descriptor: Int32, stream: String?) -> Bool {
      var status = stat()
      guard let stream, fstat(descriptor, &status) == 0 else { return false }
      return stream == "\(status.st_dev):\(status.st_ino)"
    }
  }

  /// SYSLOG_IDENTIFIER, by which `journalctl -t` finds the entries.
  package let identifier: String
  package let destination: Destination
  private let queue: DispatchQueue
  private let state: Mutex<State>

  private struct State {
    var backlog: JournalBacklog
    var isWriting = false
  }

  package convenience init(identifier: String, destination: Destination = .automatic) {
    self.init(identifier: identifier, destination: destination, limit: 4096, byteLimit: 4 << 20)
  }

  init(identifier: String, destination: Destination, limit: Int, byteLimit: Int) {
    self.identifier = identifier
    self.destination = destination
    queue = DispatchQueue(label: "ollama-pool.journal")
    state = Mutex(State(backlog: JournalBacklog(limit: limit, byteLimit: byteLimit)))
  }

  package func send(_ entry: JournalEntry) {
    // The journal stamps what it gets; a line of text needs the time at which this happened.
    let time = destination == .journal ? "" : Self.now()
    let begin = state.withLock { state in
      state.backlog.append(.init(entry: entry, time: time))
      defer { state.isWriting = true }
      return !state.isWriting
    }
    if begin { queue.async { self.writeBacklog() } }
  }

  /// Waits until all that was sent before is written, but no longer than `limit`: for the way out.
  /// - Returns: whether all was written.
  @discardableResult
  package func flush(within limit: Duration = .seconds(2)) -> Bool {
    let written = DispatchSemaphore(value: 0)
    queue.async { written.signal() }
    return written.wait(timeout: .now() + limit.dispatchInterval) == .success
  }

  private func writeBacklog() {
    while true {
      let (dropped, item) = state.withLock { state in
        let next = (state.backlog.takeDropped(), state.backlog.removeFirst())
        state.isWriting = next.1 != nil
        return next
      }
      guard let item else { return }
      if dropped > 0 {
        let entry = JournalEntry(
          "\(dropped) journal entries were dropped: they came faster than they could be written",
          priority: .warning, fields: [(name: "DROPPED_ENTRIES", value: String(dropped))])
        write(.init(entry: entry, time: item.time))
      }
      write(item)
    }
  }

  private func write(_ item: JournalBacklog.Item) {
    switch destination {
    case .journal: Self.write(item.entry.encoded(identifier: identifier))
    case .text(let descriptor):
      Self.write(Array(item.entry.line(identifier: identifier, time: item.time).utf8), to: descriptor)
    }
  }

  /// One datagram. There is nowhere to report a failure to.
  private static func write(_ fields: [[UInt8]]) {
    let total = fields.reduce(0) { $0 + $1.count }
    withUnsafeTemporaryAllocation(byteCount: total, alignment: 1) { memory in
      var vectors: [iovec] = []
      var offset = 0
      for field in fields {
        let part = UnsafeMutableRawBufferPointer(rebasing: memory[offset..<offset + field.count])
        part.copyBytes(from: field)
        vectors.append(iovec(iov_base: part.baseAddress, iov_len: field.count))
        offset += field.count
      }
      _ = sd_journal_sendv(vectors, Int32(vectors.count))
    }
  }

  private static func write(_ bytes: [UInt8], to descriptor: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno == EAGAIN {
        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&wait, 1, 1000) > 0 else { return }
      } else if errno != EINTR {
        return
      }
    }
  }

  /// Local time with its offset from UTC: "2026-03-01T14:05:09.123+0100".
  private static func now() -> String {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    var parts = tm()
    localtime_r(&time.tv_sec, &parts)
    let milliseconds = String(1000 + time.tv_nsec / 1_000_000).dropFirst()
    return format("%Y-%m-%dT%H:%M:%S", &parts) + ".\(milliseconds)" + format("%z", &parts)
  }

  private static func format(_ format: String, _ parts: inout tm) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
      guard let start = buffer.baseAddress else { return "" }
      let count = strftime(start, buffer.count, format, &parts)
      return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }
  }
}
