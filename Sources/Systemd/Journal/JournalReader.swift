import CSystemd
import Glibc

/// Reads what a unit wrote to the journal.
package enum JournalReader {
  /// The last lines that one activation of a unit wrote, newest first: empty where there is no journal, or none that the
  /// caller may read. Reads files, so it may take some milliseconds.
  /// - Parameter invocation: as ``UnitState/invocationID``. Only journald sets the field that is looked for.
  package static func lastMessages(ofInvocation invocation: String, limit: Int = 20) -> [String] {
    var opened: OpaquePointer?
    guard sd_journal_open(&opened, Int32(SD_JOURNAL_LOCAL_ONLY)) >= 0, let journal = opened else { return [] }
    defer { sd_journal_close(journal) }
    guard sd_journal_add_match(journal, "_SYSTEMD_INVOCATION_ID=\(invocation)", 0) >= 0,
      sd_journal_seek_tail(journal) >= 0
    else { return [] }
    var messages: [String] = []
    while messages.count < limit, sd_journal_previous(journal) > 0 {
      if let message = message(of: journal) { messages.append(message) }
    }
    return messages
  }

  private static func message(of journal: OpaquePointer) -> String? {
    var data: UnsafeRawPointer?
    var length = 0
    guard sd_journal_get_data(journal, "MESSAGE", &data, &length) >= 0, let data else { return nil }
    let field = UnsafeRawBufferPointer(start: data, count: min(length, JournalEntry.longestValue))
    return String(decoding: field.dropFirst("MESSAGE=".utf8.count), as: UTF8.self)
  }
}
