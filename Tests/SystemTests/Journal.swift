import Foundation
import TestSupport

/// One entry of the journal.
struct JournalEntry: Sendable, CustomStringConvertible {
  var message: String
  /// SYSLOG_IDENTIFIER: who wrote it.
  var identifier: String
  var messageID: String?
  var instance: String?
  var gpu: String?
  var reason: String?
  /// When journald got it, since the machine's start.
  var time: Duration

  var description: String { "\(identifier): \(message)" }

  /// From a line of `journalctl -o json`; a message that is no text counts as empty.
  fileprivate init?(json line: Substring) {
    guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
      let microseconds = (object["__MONOTONIC_TIMESTAMP"] as? String).flatMap({ Int64($0) })
    else { return nil }
    func text(_ field: String) -> String? { object[field] as? String }
    message = text("MESSAGE") ?? ""
    identifier = text("SYSLOG_IDENTIFIER") ?? ""
    messageID = text("MESSAGE_ID")
    instance = text("POOL_INSTANCE")
    gpu = text("POOL_GPU")
    reason = text("POOL_REASON")
    time = .microseconds(microseconds)
  }
}

extension InstalledPool {
  /// Of the two daemons.
  static let identifiers = ["ollama-pool-supervisor", "ollama-pool-dispatcher"]

  /// From here on what is read of the journal is this test's.
  func beginStory() async throws { storyBegins = try await journalCursor() }

  /// Where the journal ends now.
  func journalCursor() async throws -> String {
    let marker = "-- cursor: "
    let last = try await run("journalctl", ["-n", "1", "--no-pager", "--show-cursor"])
    guard let line = last.output.split(separator: "\n").last, line.hasPrefix(marker) else {
      throw Failed("journalctl --show-cursor: \(last.output)\(last.errorOutput)")
    }
    return String(line.dropFirst(marker.count))
  }

  /// What the journal has since the test's begin, as people read it.
  func journal() async -> String {
    let command = try? await run("journalctl", ["-o", "short-precise", "--no-pager"] + cursor(storyBegins))
    return command.map { $0.output + $0.errorOutput } ?? ""
  }

  /// Without matches of journalctl's own: with them, and a cursor, systemd 252 leaves out the first entry.
  /// - Parameters:
  ///   - cursor: from where; nil: since the test's begin.
  ///   - instance: only what is about this one, its own output included; nil: all.
  func entries(after cursor: String? = nil, about instance: String? = nil) async throws -> [JournalEntry] {
    let list = try await run("journalctl", ["-o", "json", "--no-pager"] + self.cursor(cursor ?? storyBegins))
    return list.output.split(separator: "\n").compactMap { JournalEntry(json: $0) }
      .filter { instance == nil || $0.instance == instance }
  }

  /// The entries of both daemons.
  func story(after cursor: String? = nil) async throws -> [JournalEntry] {
    try await entries(after: cursor).filter { Self.identifiers.contains($0.identifier) }
  }

  /// Waits for an entry of a daemon with `text` in it.
  @discardableResult
  func entry(
    within limit: Duration = .seconds(20), containing text: String,
    where isMeant: (JournalEntry) -> Bool = { _ in true }
  ) async throws -> JournalEntry {
    try await eventualValue(within: limit, every: .milliseconds(50), "the journal says '\(text)'") {
      try await self.story().first { $0.message.contains(text) && isMeant($0) }
    }
  }

  private func cursor(_ cursor: String?) -> [String] { cursor.map { ["--after-cursor=\($0)"] } ?? [] }
}

/// What explains the entries: `journalctl --dump-catalog`.
struct JournalCatalog {
  struct Text {
    var subject: String
    /// Without the header.
    var explanation: String
  }

  /// By MESSAGE_ID.
  let texts: [String: Text]

  static func installed() async throws -> JournalCatalog {
    let dump = try await run("journalctl", ["--dump-catalog", "--no-pager"])
    guard dump.end == .exited(0) else { throw Failed("journalctl --dump-catalog: \(dump.errorOutput)") }
    var texts: [String: Text] = [:]
    for section in ("\n" + dump.output).split(separator: "\n-- ") {
      let lines = section.split(separator: "\n", omittingEmptySubsequences: false)
      guard let id = lines.first, let subject = lines.first(where: { $0.hasPrefix("Subject: ") }),
        let end = lines.firstIndex(of: "")
      else { continue }
      texts[String(id)] = Text(
        subject: String(subject.dropFirst("Subject: ".count)),
        explanation: lines[end...].joined(separator: "\n").trimmingCharacters(in: .whitespacesAndNewlines))
    }
    return JournalCatalog(texts: texts)
  }

  /// What `journalctl -x` shows as the subject of an entry; nil where the catalog doesn't know it.
  func subject(of entry: JournalEntry) -> String? {
    entry.messageID.flatMap { texts[$0] }?.subject
      .replacingOccurrences(of: "@POOL_INSTANCE@", with: entry.instance ?? "@POOL_INSTANCE@")
  }
}
